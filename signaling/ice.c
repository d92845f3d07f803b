#include "signaling/ice.h"

#include "signaling/ice_renewal.h"
#include "signaling/methods.h"
#include "signaling/options.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

enum { SHA1_BYTES = 20, SHA1_BASE64 = 28, USERNAME_MAX = 4096 };

int64_t ice_expiry(void)
{
	return (int64_t)time(NULL) + options()->ice_lifetime_s;
}

static void write_timed(struct json_out *o, struct str secret, struct str user, int64_t expires_at)
{
	struct buf username = BUF_INIT(USERNAME_MAX);
	buf_addf(&username, "%" PRId64 ":", expires_at);
	buf_adds(&username, user);
	unsigned char digest[EVP_MAX_MD_SIZE], text[SHA1_BASE64 + 1];
	unsigned n = 0;
	struct str name = buf_str(&username);
	if (!username.err &&
		HMAC(EVP_sha1(), secret.p, (int)secret.n, (const unsigned char *)name.p, name.n,
			digest, &n)) {
		EVP_EncodeBlock(text, digest, SHA1_BYTES);
		json_str(o, "username", name);
		json_str(o, "credential", (struct str){(const char *)text, SHA1_BASE64});
	}
	buf_free(&username);
}

static bool is_region(struct str region)
{
	for (size_t i = 0; region.n && i < options()->ice_count; i++)
		if (str_eq(options()->ice[i].region, region))
			return true;
	return false;
}

/* Walks those to be told for a region that there is: first its own, then those of none. */
static const struct ice_server *next_server(struct str region, size_t *at)
{
	size_t count = options()->ice_count;
	while (*at < 2 * count) {
		const struct ice_server *server = &options()->ice[*at % count];
		struct str wanted = *at < count ? region : STR("");
		++*at;
		if (str_eq(server->region, wanted))
			return server;
	}
	return NULL;
}

static const struct ice_server *next_of_all(size_t *at)
{
	return *at < options()->ice_count ? &options()->ice[(*at)++] : NULL;
}

static void write_server(
	struct json_out *o, const struct ice_server *server, struct str user, int64_t expires_at)
{
	json_open(o, NULL, '{');
	json_open(o, "urls", '[');
	for (size_t k = 0; k < server->url_count; k++)
		json_str(o, NULL, server->urls[k]);
	json_close(o, ']');
	if (server->secret.n) {
		write_timed(o, server->secret, user, expires_at);
	} else if (server->username.n) {
		json_str(o, "username", server->username);
		json_str(o, "credential", server->credential);
	}
	json_close(o, '}');
}

void ice_write(struct json_out *o, struct str user, int64_t expires_at, struct str region)
{
	const struct ice_server *server;
	bool some = is_region(region);
	json_open(o, "ice_servers", '[');
	for (size_t at = 0; (server = some ? next_server(region, &at) : next_of_all(&at));)
		write_server(o, server, user, expires_at);
	json_close(o, ']');
}

bool ice_is_timed(struct str region)
{
	const struct ice_server *server;
	bool some = is_region(region), timed = false;
	for (size_t at = 0; (server = some ? next_server(region, &at) : next_of_all(&at));)
		timed |= server->secret.n > 0;
	return timed;
}

void ice_servers_run(struct call *c)
{
	const struct ice_params *in = c->params;
	int64_t expires_at = ice_expiry();
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	ice_write(o, c->who->user, expires_at, in->region);
	json_int(o, "expires_at", expires_at);
	json_close(o, '}');
	ice_given(c->from, c->who->user, in->region);
	call_reply(c);
}
