/* What an HTTP request says, read out of libwebsockets while that has its headers. */
#include "service/lws.h"

#include "core/form.h"
#include "core/mem.h"
#include "service/handshake.h"
#include "service/peer.h"

#include <libwebsockets.h>

enum { HEADERS_MAX = 16 * 1024 }; /* as core/worker.c tells libwebsockets */

static bool has(struct lws *wsi, enum lws_token_indexes token)
{
	return lws_hdr_total_length(wsi, token) > 0;
}

static struct str copy_header(struct lws *wsi, enum lws_token_indexes token, char **at)
{
	int n = lws_hdr_total_length(wsi, token);
	struct str value = {*at, (size_t)n};
	if (n <= 0 || lws_hdr_copy(wsi, *at, n + 1, token) < 0)
		return (struct str){"", 0};
	*at += n + 1;
	return value;
}

static const struct {
	enum lws_token_indexes token;
	size_t offset;
} headers[] = {
	{WSI_TOKEN_HOST, offsetof(struct http_request, host)},
	{WSI_TOKEN_ORIGIN, offsetof(struct http_request, origin)},
	{WSI_TOKEN_HTTP_AUTHORIZATION, offsetof(struct http_request, authorization)},
	{WSI_TOKEN_HTTP_COOKIE, offsetof(struct http_request, cookie)},
	{WSI_TOKEN_HTTP_CONTENT_TYPE, offsetof(struct http_request, content_type)},
	{WSI_TOKEN_HTTP_ACCEPT, offsetof(struct http_request, accept)},
	{WSI_TOKEN_HTTP_ACCEPT_LANGUAGE, offsetof(struct http_request, accept_language)},
	{WSI_TOKEN_HTTP_IF_NONE_MATCH, offsetof(struct http_request, if_none_match)},
	{WSI_TOKEN_HTTP_USER_AGENT, offsetof(struct http_request, user_agent)},
};
/* Those that libwebsockets does not know; it keeps them with their colon. */
static const struct {
	const char *name;
	size_t offset;
} own_headers[] = {
	{"last-event-id:", offsetof(struct http_request, last_event_id)},
	{"signalbox-session:", offsetof(struct http_request, signalbox_session)},
	{"signalbox-sent:", offsetof(struct http_request, signalbox_sent)},
};
enum {
	HEADER_COUNT = sizeof(headers) / sizeof(*headers),
	OWN_HEADER_COUNT = sizeof(own_headers) / sizeof(*own_headers)
};

static int own_header_length(struct lws *wsi, const char *name)
{
	int n = lws_hdr_custom_length(wsi, name, (int)strlen(name));
	return n > 0 ? n : 0;
}

static struct str copy_own_header(struct lws *wsi, const char *name, char **at)
{
	int n = own_header_length(wsi, name);
	struct str value = {*at, (size_t)n};
	if (!n || lws_hdr_custom_copy(wsi, *at, n + 1, name, (int)strlen(name)) < 0)
		return (struct str){"", 0};
	*at += n + 1;
	return value;
}

/* libwebsockets decodes the arguments and gives them one by one: here they become a form again. */
static void read_query(struct lws *wsi, struct buf *query)
{
	char one[HEADERS_MAX];
	for (int i = 0; lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0; i++) {
		int n = lws_hdr_copy_fragment(wsi, one, sizeof(one), WSI_TOKEN_HTTP_URI_ARGS, i);
		if (n <= 0)
			continue;
		char *equals = memchr(one, '=', (size_t)n);
		size_t name = equals ? (size_t)(equals - one) : (size_t)n;
		one[name] = 0;
		struct str value = {equals ? equals + 1 : "", equals ? (size_t)n - name - 1 : 0};
		form_add(query, one, value);
	}
}

static enum lws_token_indexes uri_token(struct lws *wsi, unsigned *ret_verb, bool *ret_head)
{
	static const struct {
		enum lws_token_indexes token;
		unsigned verb;
	} verbs[] = {
		{WSI_TOKEN_GET_URI, HTTP_GET},
		{WSI_TOKEN_HEAD_URI, HTTP_GET},
		{WSI_TOKEN_POST_URI, HTTP_POST},
		{WSI_TOKEN_OPTIONS_URI, HTTP_OPTIONS},
	};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (has(wsi, verbs[i].token)) {
			*ret_verb = verbs[i].verb;
			*ret_head = verbs[i].token == WSI_TOKEN_HEAD_URI;
			return verbs[i].token;
		}
	*ret_verb = 0;
	return WSI_TOKEN_GET_URI;
}

/* Who asks, now that its headers are here. */
static struct str read_peer(struct lws *wsi, char out[IP_TEXT_MAX])
{
	char list[HEADERS_MAX];
	struct peer *peer = lws_get_opaque_user_data(wsi);
	int n = lws_hdr_copy(wsi, list, sizeof(list), WSI_TOKEN_X_FORWARDED_FOR);
	peer_forwarded(peer, (struct str){list, n > 0 ? (size_t)n : 0});
	memcpy(out, peer->text, sizeof(peer->text));
	return str_of(out);
}

void http_read_request(struct lws *wsi, struct http_request *ret_in, char **ret_text)
{
	bool head = false;
	unsigned verb = 0;
	enum lws_token_indexes uri = uri_token(wsi, &verb, &head);
	struct buf query = BUF_INIT(HEADERS_MAX * 3);
	read_query(wsi, &query);
	size_t size = query.n + IP_TEXT_MAX + 1 + (size_t)lws_hdr_total_length(wsi, uri) + 1;
	for (size_t i = 0; i < HEADER_COUNT; i++)
		size += (size_t)lws_hdr_total_length(wsi, headers[i].token) + 1;
	for (size_t i = 0; i < OWN_HEADER_COUNT; i++)
		size += (size_t)own_header_length(wsi, own_headers[i].name) + 1;
	char *at = *ret_text = mem_alloc(size);
	ret_in->verb = (enum http_verb)verb;
	ret_in->head = head;
	ret_in->path = copy_header(wsi, uri, &at);
	for (size_t i = 0; i < HEADER_COUNT; i++)
		*(struct str *)(void *)((char *)ret_in + headers[i].offset) =
			copy_header(wsi, headers[i].token, &at);
	for (size_t i = 0; i < OWN_HEADER_COUNT; i++)
		*(struct str *)(void *)((char *)ret_in + own_headers[i].offset) =
			copy_own_header(wsi, own_headers[i].name, &at);
	ret_in->query = (struct str){at, query.n};
	if (query.n)
		memcpy(at, query.p, query.n);
	at += query.n;
	buf_free(&query);
	ret_in->peer = read_peer(wsi, at);
	ret_in->born_ns = ((struct peer *)lws_get_opaque_user_data(wsi))->born_ns;
	ret_in->tls = lws_is_ssl(wsi) != 0;
}

/* libwebsockets ignores Transfer-Encoding and takes the first of several lengths: both would hide a
 * second request (RFC 9112, 11.2). */
int http_read_body_length(struct lws *wsi, size_t *ret_length)
{
	*ret_length = 0;
	if (has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
		return 501;
	bool post = has(wsi, WSI_TOKEN_POST_URI);
	if (!has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
		return post ? 411 : 0;
	char text[32];
	int n = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH);
	if (n <= 0 || n > 12 || lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, 1) > 0)
		return 400;
	for (int i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 400;
		*ret_length = *ret_length * 10 + (size_t)(text[i] - '0');
	}
	return !post && *ret_length ? 400 : 0;
}

void http_read_handshake(struct lws *wsi, struct handshake *ret_h)
{
	ret_h->protocols_length = lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL);
	ret_h->version_length = lws_hdr_total_length(wsi, WSI_TOKEN_VERSION);
	ret_h->key_length = lws_hdr_total_length(wsi, WSI_TOKEN_KEY);
	ret_h->extensions_length = lws_hdr_total_length(wsi, WSI_TOKEN_EXTENSIONS);
	ret_h->has_body = has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) ||
		has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING);
	lws_hdr_copy(wsi, ret_h->protocols, sizeof(ret_h->protocols), WSI_TOKEN_PROTOCOL);
	lws_hdr_copy(wsi, ret_h->version, sizeof(ret_h->version), WSI_TOKEN_VERSION);
}
