#include "service/site.h"

#include "core/embedded.h"
#include "core/metrics.h"
#include "dataset/catalog.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdio.h>

enum { READY_BYTES_MAX = 1 << 20 };

static bool demo;
static atomic_bool ready;

void site_configure(bool serve_demo)
{
	demo = serve_demo;
}

void site_set_ready(bool yes)
{
	atomic_store(&ready, yes);
}

static const char *type_of(struct str path)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{".html", "text/html; charset=utf-8"},
		{".js", "text/javascript; charset=utf-8"},
		{".css", "text/css; charset=utf-8"},
		{".svg", "image/svg+xml"},
		{".png", "image/png"},
		{".ico", "image/x-icon"},
		{".json", "application/json"},
		{".webmanifest", "application/manifest+json"},
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct str ending = str_of(types[i].ending);
		if (path.n >= ending.n &&
			str_eq((struct str){path.p + path.n - ending.n, ending.n}, ending))
			return types[i].type;
	}
	return "application/octet-stream";
}

static const struct embedded_file *find(const char *folder, struct str name)
{
	size_t n = strlen(folder);
	for (const struct embedded_file *f = embedded_files; f->path; f++)
		if (strncmp(f->path, folder, n) == 0 && str_is(name, f->path + n))
			return f;
	return NULL;
}

/* Whether an If-None-Match (RFC 9110 section 13.1.2) names this tag: in a list, weakly, or by "*". */
static bool names(struct str header, const char *etag)
{
	return str_is(header, "*") ||
		(header.n && memmem(header.p, header.n, etag, strlen(etag)) != NULL);
}

static void reply_file(struct http_exchange *x, const struct embedded_file *f)
{
	struct str bytes = embedded_bytes(f);
	char etag[24];
	snprintf(etag, sizeof(etag), "\"%016llx\"", str_hash(bytes));
	http_header(x, "ETag", str_of(etag));
	http_header(x, "Cache-Control", STR("no-cache"));
	http_header(x, "Cross-Origin-Opener-Policy", STR("same-origin"));
	http_header(x, "Content-Security-Policy",
		STR("default-src 'none'; script-src 'self'; style-src 'self'; "
		    "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
		    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"));
	if (names(x->in.if_none_match, etag))
		http_reply(x, 304, NULL, STR(""));
	else
		http_reply(x, 200, type_of(str_of(f->path)), bytes);
}

static void reply_found(struct http_exchange *x, const struct embedded_file *f)
{
	if (f)
		reply_file(x, f);
	else
		http_reply(x, 404, "text/plain; charset=utf-8",
			STR("There is nothing at this address.\n"));
}

static void serve_sdk(struct http_exchange *x)
{
	struct str name = x->in.path;
	name.p += sizeof("/sdk/") - 1;
	name.n -= sizeof("/sdk/") - 1;
	reply_found(x, find("web/sdk/", name));
}

static void serve_demo(struct http_exchange *x)
{
	struct str name = {x->in.path.p + 1, x->in.path.n - 1};
	if (!name.n)
		name = STR("index.html");
	reply_found(x, demo ? find("web/demo/", name) : NULL);
}

static void serve_plain_ws(struct http_exchange *x)
{
	http_header(x, "Upgrade", STR("websocket"));
	http_reply(x, 400, "text/plain; charset=utf-8",
		STR("This address takes WebSockets with the subprotocol signalbox.v1.\n"));
}

static void serve_health(struct http_exchange *x)
{
	http_reply(x, 200, "text/plain; charset=utf-8", STR("ok\n"));
}

/* A line for each dataset that cannot be served just now. The rest is, so this does not make the service less ready. */
static void add_troubles(struct buf *b)
{
	struct listed l;
	char name[DATASET_NAME_MAX];
	size_t n = 0;
	if (metric_read(METRIC_DATASETS_TROUBLE) <= 0)
		return;
	while (catalog_list((struct str){name, n}, &l, 1)) {
		n = l.definition->name.n;
		memcpy(name, l.definition->name.p, n);
		if (l.status.state == DATASET_TROUBLE)
			buf_addf(b, "dataset " STR_FMT ": %s; %s\n", STR_ARG(l.definition->name),
				l.status.what, l.status.remedy);
		definition_unref(&l.definition);
	}
}

static void serve_ready(struct http_exchange *x)
{
	const char *trouble = store_trouble();
	if (!atomic_load(&ready)) {
		http_reply(x, 503, "text/plain; charset=utf-8", STR("starting or stopping\n"));
	} else if (trouble) {
		struct buf b = BUF_INIT(STORE_WHY_MAX);
		buf_addf(&b, "the store: %s\n", trouble);
		http_reply(x, 503, "text/plain; charset=utf-8", buf_str(&b));
		buf_free(&b);
	} else {
		struct buf b = BUF_INIT(READY_BYTES_MAX);
		buf_adds(&b, STR("ready\n"));
		add_troubles(&b);
		http_reply(x, 200, "text/plain; charset=utf-8", buf_str(&b));
		buf_free(&b);
	}
}

static void serve_metrics(struct http_exchange *x)
{
	struct buf b = BUF_INIT(1 << 20);
	metrics_write(&b);
	http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
	buf_free(&b);
}

const struct http_route site_routes[] = {
	{.path = "/health", .verbs = HTTP_GET, .serve = serve_health, .internal = true},
	{.path = "/ready", .verbs = HTTP_GET, .serve = serve_ready, .internal = true},
	{.path = "/metrics", .verbs = HTTP_GET, .serve = serve_metrics, .internal = true},
	{.path = "/ws", .verbs = HTTP_GET, .serve = serve_plain_ws},
	{.path = "/sdk/*", .verbs = HTTP_GET, .serve = serve_sdk, .cors = HTTP_CORS_ANY},
	{.path = "/*", .verbs = HTTP_GET, .serve = serve_demo},
	{0},
};
