// A browser without a window, for the issuer's pages: cookies, redirects that are not followed, forms.
export class Browser {
	cookies = new Map();

	/** headers: what it sends with every request. */
	constructor(headers = {}) {
		this.sent = headers;
	}

	async open(url, form) {
		const response = await fetch(url, {
			method: form ? "POST" : "GET",
			redirect: "manual",
			headers: {
				...this.sent,
				cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; "),
				...(form && { "content-type": "application/x-www-form-urlencoded", origin: "null" }),
			},
			body: form && new URLSearchParams(form).toString(),
		});
		for (const line of response.headers.getSetCookie()) {
			const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
			this.cookies.set(name, value);
		}
		this.status = response.status;
		this.headers = response.headers;
		this.location = response.headers.get("location");
		this.html = await response.text();
		this.url = url.toString();
		return this;
	}

	get title() {
		return /<h1>(.*)<\/h1>/.exec(this.html)?.[1];
	}

	/** Sends the form of this page, filled in; what is not given stays as the page has it. */
	submit(fields) {
		const action = this.html.match(/<form method="post" action="([^"]*)"/)[1];
		return this.open(new URL(action.replaceAll("&amp;", "&"), this.url), { ...this.filled(), ...fields });
	}

	/** What the fields of the form hold. */
	filled() {
		const inputs = [...this.html.matchAll(/<input [^>]*?name="(\w+)"[^>]* value="([^"]*)"/g)];
		return Object.fromEntries(inputs.map(([, name, value]) => [name, value]));
	}
}
