#include "core/fetch.h"

#include "core/buf.h"
#include "core/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>

struct fetch_private {
	struct fetch *fetch;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	const struct network *networks;
	size_t network_count;
	bool guarded, status_only;
	bool local;   /* the address named is this machine's */
	bool refused; /* it resolved to one that may not be asked */
	char error[CURL_ERROR_SIZE];
};

struct socket_poll {
	uv_poll_t poll;
	curl_socket_t fd;
};

static _Thread_local CURLM *multi;
static _Thread_local uv_timer_t timer;
static _Thread_local size_t under_way;
static const char *authorities; /* NULL: the system's */

void fetch_trust(const char *path)
{
	authorities = path;
}

static void end(struct fetch_private *own)
{
	curl_multi_remove_handle(multi, own->easy);
	curl_easy_cleanup(own->easy);
	curl_slist_free_all(own->headers);
	buf_free(&own->body);
	free(own);
	under_way--;
}

static const char *status_said(struct fetch_private *own, long status)
{
	snprintf(own->error, sizeof(own->error), "the answer's status is %ld, not %s", status,
		own->status_only ? "2xx" : "200");
	return own->error;
}

static bool is_success(const struct fetch_private *own, long status)
{
	return own->status_only ? status >= 200 && status < 300 : status == 200;
}

static void finish(struct fetch_private *own, CURLcode code)
{
	struct fetch *f = own->fetch;
	long status = 0;
	curl_easy_getinfo(own->easy, CURLINFO_RESPONSE_CODE, &status);
	f->own = NULL;
	if (own->refused)
		f->done(f, ERR_FORBIDDEN, STR(""),
			own->guarded ? "the address is on this machine or in a private network"
				     : "the address is on this machine");
	else if (own->body.err && own->status_only && is_success(own, status))
		f->done(f, ERR_OK, STR(""), ""); /* it said yes, and then much more */
	else if (own->body.err)
		f->done(f, ERR_TOO_LARGE, STR(""), "the answer is too large");
	else if (code != CURLE_OK)
		f->done(f, ERR_OVERLOADED, STR(""),
			own->error[0] ? own->error : curl_easy_strerror(code));
	else if (!is_success(own, status))
		f->done(f, ERR_OVERLOADED, STR(""), status_said(own, status));
	else
		f->done(f, ERR_OK, buf_str(&own->body), "");
	end(own);
}

static void reap(void)
{
	CURLMsg *message;
	int left = 0;
	while ((message = curl_multi_info_read(multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		struct fetch_private *own = NULL;
		CURLcode code = message->data.result;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &own);
		finish(own, code);
	}
}

/* ---- libcurl on the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct socket_poll *s = (struct socket_poll *)poll;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running = 0;
	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(multi, s->fd, flags, &running);
	reap();
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *own)
{
	(void)easy, (void)context;
	struct socket_poll *s = own;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			curl_multi_assign(multi, fd, NULL);
			uv_close((uv_handle_t *)&s->poll, on_poll_closed);
		}
		return 0;
	}
	if (!s) {
		s = mem_new(struct socket_poll);
		s->fd = fd;
		uv_poll_init_socket(&worker_self()->loop, &s->poll, fd);
		curl_multi_assign(multi, fd, s);
	}
	int events =
		(what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	uv_poll_start(&s->poll, events, on_poll);
	return 0;
}

static void on_timeout(uv_timer_t *t)
{
	(void)t;
	int running = 0;
	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap();
}

static int on_timer(CURLM *m, long ms, void *context)
{
	(void)m, (void)context;
	if (ms < 0)
		uv_timer_stop(&timer);
	else
		uv_timer_start(&timer, on_timeout, (uint64_t)(ms ? ms : 1), 0);
	return 0;
}

/* ---- one request ---- */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
	struct fetch_private *own = context;
	buf_add(&own->body, bytes, size * count);
	return own->body.err ? 0 : size * count;
}

static bool is_inside_v4(uint32_t ip)
{
	return ip >> 24 == 127 || ip >> 24 == 0 || ip >> 16 == 0xa9fe;
}

/* Loopback, "this network" and link-local: RFC 6890; also those of IPv4 inside an address of IPv6. */
static bool is_inside(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return is_inside_v4(
			ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
	if (a->sa_family != AF_INET6)
		return true;
	const struct in6_addr *ip = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b}; /* RFC 6052 */
	if (IN6_IS_ADDR_V4MAPPED(ip) || memcmp(ip, nat64, sizeof(nat64)) == 0) {
		uint32_t v4;
		memcpy(&v4, ip->s6_addr + 12, 4);
		return is_inside_v4(ntohl(v4));
	}
	return IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_UNSPECIFIED(ip) || IN6_IS_ADDR_LINKLOCAL(ip);
}

/* RFC 1918, 6598, 2544, 6890 (IETF and documentation), multicast and what is reserved. */
static bool is_private_v4(uint32_t ip)
{
	return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 || ip >> 22 == 0x191 ||
		ip >> 17 == 0x6309 || ip >> 8 == 0xc00000 || ip >> 28 >= 0xe;
}

/* Unique local and site-local ones (RFC 4193, 3879), multicast, and of IPv4 in IPv6: also 6to4, where the
 * address stands in front (RFC 3056). */
static bool is_private(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return is_private_v4(
			ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
	const unsigned char *ip = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	const unsigned char *v4 = ip[0] == 0x20 && ip[1] == 0x02    ? ip + 2
		: !memcmp(ip, nat64, 12) || !memcmp(ip, mapped, 12) ? ip + 12
								    : NULL;
	uint32_t inner = 0;
	if (v4)
		memcpy(&inner, v4, 4);
	inner = ntohl(inner);
	return (v4 && (is_private_v4(inner) || is_inside_v4(inner))) || (ip[0] & 0xfe) == 0xfc ||
		(ip[0] == 0xfe && (ip[1] & 0xc0) == 0xc0) || ip[0] == 0xff;
}

static bool may_connect(const struct fetch_private *own, const struct sockaddr *a)
{
	struct ip ip;
	if (!ip_of(a, &ip))
		return false;
	for (size_t i = 0; i < own->network_count; i++)
		if (network_holds(&own->networks[i], &ip))
			return true;
	return is_inside(a) == own->local && !(own->guarded && !own->local && is_private(a));
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct fetch_private *own = context;
	if (purpose == CURLSOCKTYPE_IPCXN && !may_connect(own, &a->addr)) {
		own->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

bool fetch_allowed(const char *url, bool *ret_local)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	bool allowed = false;
	if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
		!curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
		!curl_url_get(u, CURLUPART_HOST, &host, 0)) {
		bool local = strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
			strncmp(host, "127.", 4) == 0;
		allowed = strcmp(scheme, "https") == 0 || (local && strcmp(scheme, "http") == 0);
		if (allowed && ret_local)
			*ret_local = local;
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return allowed;
}

static void set_credentials(CURL *easy, const struct fetch_request *r)
{
	char *user = curl_easy_escape(easy, r->user, 0);
	char *password = curl_easy_escape(easy, r->password, 0);
	curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	curl_easy_setopt(easy, CURLOPT_USERNAME, user);
	curl_easy_setopt(easy, CURLOPT_PASSWORD, password);
	curl_free(user);
	curl_free(password);
}

static void set_body(struct fetch_private *own, const struct fetch_request *r)
{
	char type[128];
	snprintf(type, sizeof(type), "Content-Type: %s", r->content_type);
	own->headers = curl_slist_append(own->headers, type);
	curl_easy_setopt(own->easy, CURLOPT_POSTFIELDSIZE, (long)r->body.n);
	curl_easy_setopt(own->easy, CURLOPT_COPYPOSTFIELDS, r->body.p);
}

/* What is the same for every request. */
static void set_rules(struct fetch_private *own)
{
	CURL *easy = own->easy;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, own);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, own->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, own);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, own);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Names are looked up on threads that cannot be interrupted. One whose answer comes too late
	 * ends by itself, and its worker does not wait for it. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* the address looked at is the one asked */
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "Signalbox/" SIGNALBOX_VERSION);
	/* One file and nothing else: a directory would be trusted beside it, and with one libcurl reads
	 * all of them again for each connection, for which the worker would wait. */
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (authorities)
		curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
}

enum err fetch_start(struct fetch *f, const struct fetch_request *r)
{
	assert(!f->own);
	bool local = false;
	if (!fetch_allowed(r->url, &local) || (r->told && local))
		return ERR_PARAMS;
	CURL *easy = curl_easy_init();
	if (!easy)
		return ERR_NOMEM;
	struct fetch_private *own = mem_new(struct fetch_private);
	*own = (struct fetch_private){.fetch = f,
		.easy = easy,
		.networks = r->networks,
		.network_count = r->network_count,
		.guarded = r->guarded,
		.status_only = r->status_only,
		.local = local,
		.body = BUF_INIT(r->bytes)};
	f->own = own;
	set_rules(own);
	own->headers = curl_slist_append(NULL, "Accept: application/json");
	curl_easy_setopt(easy, CURLOPT_URL, r->url);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, r->timeout_ms);
	/* Of an address that another machine told, no connection is used that somebody else was
	 * allowed. */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, r->told ? 1L : 0L);
	for (size_t i = 0; r->headers && r->headers[i]; i++)
		own->headers = curl_slist_append(own->headers, r->headers[i]);
	if (r->user)
		set_credentials(easy, r);
	if (r->content_type)
		set_body(own, r);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, own->headers);
	under_way++;
	curl_multi_add_handle(multi, easy);
	return ERR_OK;
}

void fetch_cancel(struct fetch *f)
{
	if (f->own)
		end(f->own);
	f->own = NULL;
}

/* ---- the worker's part ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static enum err start(struct worker *w)
{
	pthread_once(&once, init_curl);
	uv_timer_init(&w->loop, &timer);
	multi = curl_multi_init();
	if (!multi)
		return ERR_NOMEM;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	return ERR_OK;
}

static void stop(struct worker *w)
{
	(void)w;
	assert(!under_way);
	curl_multi_cleanup(multi);
	multi = NULL;
	uv_close((uv_handle_t *)&timer, NULL);
}

const struct worker_part fetch_part = {.name = "fetch", .start = start, .stop = stop};
