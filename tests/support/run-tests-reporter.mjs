// A reporter for node --test: each event that run-tests.mjs wants, as one line of JSON.

function reason(error) {
	const cause = error?.cause ?? error;
	if (typeof cause === "string") return cause;
	return cause?.stack ?? cause?.message ?? String(cause);
}

export default async function* lines(source) {
	for await (const { type, data } of source) {
		let event;
		if (type === "test:pass" || type === "test:fail")
			event = {
				type: type.slice(5),
				file: data.file,
				name: data.name,
				nesting: data.nesting,
				ms: data.details.duration_ms,
				suite: data.details.type === "suite",
				skip: data.skip !== undefined || data.todo !== undefined,
				failure: data.details.error?.failureType,
				reason: type === "test:fail" ? reason(data.details.error) : undefined,
			};
		else if (type === "test:stdout" || type === "test:stderr")
			event = { type: "output", file: data.file, text: data.message };
		else if (type === "test:diagnostic" && data.file)
			event = { type: "output", file: data.file, text: data.message + "\n" };
		if (event) yield JSON.stringify(event) + "\n";
	}
}
