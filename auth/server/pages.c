#include "auth/server/pages.h"

#include "auth/server/issuer.h"
#include "auth/server/redirect.h"
#include "auth/server/secret.h"
#include "core/embedded.h"
#include "core/form.h"

enum { HEADER_MAX = 1024 };

_Static_assert((int)CSRF_TEXT == (int)SECRET_TEXT, "the CSRF token is a secret");

void html_add(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		static const char marks[] = "&<>\"'";
		static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
		const char *mark = text.p[i] ? strchr(marks, text.p[i]) : NULL;
		if (mark)
			buf_adds(b, str_of(names[mark - marks]));
		else
			buf_addc(b, text.p[i]);
	}
}

/* ---- the frame of a page ---- */

void page_begin(struct buf *b, const char *title)
{
	buf_addf(b,
		"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		"<title>%s - Signalbox</title>\n"
		"<link rel=\"stylesheet\" href=\"/oauth/pages.css\">\n</head>\n"
		"<body class=\"page\">\n<main class=\"card\">\n<h1>%s</h1>\n",
		title, title);
}

/* Chromium holds form-action against the redirects behind a form, too: the place where the sign-in
 * ends is therefore allowed by name. */
static void add_policy(struct http_exchange *x, struct str redirect_uri)
{
	struct buf b = BUF_INIT(HEADER_MAX);
	buf_addf(&b,
		"default-src 'none'; style-src 'self'; frame-ancestors 'none'; "
		"base-uri 'none'; form-action 'self'");
	if (redirect_uri.n) {
		buf_addc(&b, ' ');
		redirect_add_source(&b, redirect_uri);
	}
	http_header(x, "Content-Security-Policy", buf_str(&b));
	buf_free(&b);
}

void page_end(struct http_exchange *x, int status, struct buf *b, struct str redirect_uri)
{
	buf_addf(b, "</main>\n</body>\n</html>\n");
	add_policy(x, redirect_uri);
	if (b->err)
		http_reply(x, 500, "text/plain; charset=utf-8", STR("The page is too large.\n"));
	else
		http_reply(x, status, "text/html; charset=utf-8", buf_str(b));
	buf_free(b);
}

void page_error(struct http_exchange *x, int status, const char *title, const char *sentence)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, title);
	buf_addf(&b, "<p class=\"error\" role=\"alert\">%s</p>\n", sentence);
	page_end(x, status, &b, STR(""));
}

const char page_cannot_now[] =
	"The service cannot do this just now, and nothing was changed. Wait a few seconds and try "
	"again; if it stays so, tell the operator.";

void page_notice(struct http_exchange *x, const char *title, const char *sentence)
{
	struct buf b = BUF_INIT(PAGE_MAX_BYTES);
	page_begin(&b, title);
	buf_addf(&b, "<p class=\"hint\" role=\"status\">%s</p>\n", sentence);
	page_end(x, 200, &b, STR(""));
}

void page_failed(struct http_exchange *x)
{
	http_header(x, "Retry-After", STR("5"));
	page_error(x, 503, "Not just now", page_cannot_now);
}

/* ---- pieces of forms ---- */

void page_form(struct buf *b, const char *action, struct str query, struct str csrf)
{
	buf_addf(b, "<form method=\"post\" action=\"%s", action);
	if (query.n) {
		buf_addc(b, '?');
		html_add(b, query);
	}
	buf_addf(b, "\">\n");
	page_hidden(b, "csrf", csrf);
}

void page_hidden(struct buf *b, const char *name, struct str value)
{
	buf_addf(b, "<input type=\"hidden\" name=\"%s\" value=\"", name);
	html_add(b, value);
	buf_addf(b, "\">\n");
}

void page_input(
	struct buf *b, const char *id, const char *label, struct str value, const char *attributes)
{
	buf_addf(b,
		"<label for=\"%s\">%s</label>\n"
		"<input id=\"%s\" name=\"%s\" %s value=\"",
		id, label, id, id, attributes);
	html_add(b, value);
	buf_addf(b, "\">\n");
}

void page_link(struct buf *b, const char *to, struct str query, const char *text)
{
	buf_addf(b, "<p class=\"links\"><a href=\"%s", to);
	if (query.n) {
		buf_addc(b, '?');
		html_add(b, query);
	}
	buf_addf(b, "\">%s</a></p>\n", text);
}

void page_problem(struct buf *b, const char *problem)
{
	if (problem)
		buf_addf(b, "<p class=\"error\" id=\"problem\" role=\"alert\">%s</p>\n", problem);
}

const char *page_wait_for(
	struct http_exchange *x, const char *why, int64_t seconds, char out[PAGE_WAIT_TEXT])
{
	char after[24];
	snprintf(after, sizeof(after), "%lld", (long long)seconds);
	snprintf(out, PAGE_WAIT_TEXT, "%s Wait %s second%s, then try again.", why, after,
		seconds == 1 ? "" : "s");
	http_header(x, "Retry-After", str_of(after));
	return out;
}

const char *page_wait(struct http_exchange *x, int64_t seconds, char out[PAGE_WAIT_TEXT])
{
	return page_wait_for(x, "There were too many attempts that failed.", seconds, out);
}

/* ---- cookies ---- */

/* Behind https the name makes browsers refuse the cookie from a sibling domain. */
static const char *cookie_name(bool login)
{
	if (login)
		return issuer->secure ? "__Host-signalbox" : "signalbox";
	return issuer->secure ? "__Host-signalbox-form" : "signalbox-form";
}

static void set_cookie(struct http_exchange *x, bool login, struct str value)
{
	struct buf b = BUF_INIT(HEADER_MAX);
	buf_addf(&b, "%s=" STR_FMT "; Path=/; HttpOnly; SameSite=Lax", cookie_name(login),
		STR_ARG(value));
	if (issuer->secure)
		buf_addf(&b, "; Secure");
	if (login)
		buf_addf(&b, "; Max-Age=%d", value.n ? LOGIN_LIFETIME : 0);
	http_header(x, "Set-Cookie", buf_str(&b));
	buf_free(&b);
}

static bool is_secret(struct str text)
{
	if (text.n != SECRET_TEXT)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_';
		if (!fine)
			return false;
	}
	return true;
}

static struct str secret_cookie(const struct http_exchange *x, bool login)
{
	struct str value = cookie_get(x->in.cookie, cookie_name(login));
	return is_secret(value) ? value : STR("");
}

struct str page_login_cookie(const struct http_exchange *x)
{
	return secret_cookie(x, true);
}

void page_set_login_cookie(struct http_exchange *x, struct str value)
{
	set_cookie(x, true, value);
}

/* Double submit: the cookie is kept while the browser is open, so that two open forms both work. */
struct str page_csrf(struct http_exchange *x, char *out)
{
	struct str cookie = secret_cookie(x, false);
	if (cookie.n) {
		memcpy(out, cookie.p, cookie.n);
	} else {
		char made[SECRET_TEXT + 1];
		secret_make(made);
		memcpy(out, made, SECRET_TEXT);
		set_cookie(x, false, str_of(made));
	}
	return (struct str){out, CSRF_TEXT};
}

bool page_csrf_fits(struct http_exchange *x, struct str from_form)
{
	struct str cookie = secret_cookie(x, false);
	return cookie.n && str_eq_secret(cookie, from_form);
}

/* ---- the style ---- */

#define PAGES "web/pages/"

void serve_style(struct http_exchange *x)
{
	struct str name = x->in.path;
	name.p += sizeof("/oauth/") - 1;
	name.n -= sizeof("/oauth/") - 1;
	for (const struct embedded_file *f = embedded_files; f->path; f++)
		if (strncmp(f->path, PAGES, strlen(PAGES)) == 0 &&
			str_is(name, f->path + strlen(PAGES))) {
			http_header(x, "Cache-Control", STR("public, max-age=300"));
			http_reply(x, 200, "text/css; charset=utf-8", embedded_bytes(f));
			return;
		}
	http_reply(x, 404, "text/plain; charset=utf-8", STR("There is no style sheet.\n"));
}
