/* What must hold between keys, once each is right by itself. */
#include "auth/discovery.h"
#include "auth/jwa.h"
#include "auth/signed_request.h"
#include "core/fetch.h"
#include "dataset/definition_check.h"
#include "service/config_parts.h"
#include "service/datasets.h"
#include "store/outbox.h"

#include <errno.h>
#include <unistd.h>

enum { ICE_MAX_BYTES = 8 * 1024 };

static const struct config_key *key_of(const char *section, const char *name)
{
	return config_key_named(config_section_named(str_of(section)), str_of(name));
}

/* Tells of a key of a section. */
static void fault(struct config_loader *l, const char *section, const char *name,
	const struct config_why *why)
{
	const struct config_key *key = key_of(section, name);
	config_fault(l, l->config->origins->keys + (key - config_keys), key->path, why);
}

/* Tells of a field of a record, or of the whole list where the field is not written. */
static void fault_in(struct config_loader *l, const char *list, size_t record, const char *name,
	const struct config_why *why)
{
	const struct config_section *section = config_section_named(str_of(list));
	const struct config_key *key = key_of(list, name);
	const struct config_records_origin *origins =
		l->config->origins->records + (section - config_sections);
	const struct config_origin *at = origins->fields + record * section->count +
		(size_t)(key - config_keys) - section->first;
	config_fault(l, at->source ? at : &origins->list, at->source ? key->path : list, why);
}

static bool is_loopback(const char *address)
{
	return !strncmp(address, "127.", 4) || !strncmp(address, "[::1]", 5);
}

static void rules_of_listening(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	if (!*c->tls.certificate != !*c->tls.key) {
		const char *there = *c->tls.key ? "key" : "certificate";
		config_refuse(&why, "tls.%s is missing: TLS needs both",
			*c->tls.key ? "certificate" : "key");
		fault(l, "tls", there, &why);
	}
	if (*c->tls.certificate || *c->tls.key || c->server.behind_proxy)
		return;
	for (size_t i = 0; i < c->server.listen.count; i++) {
		if (is_loopback(c->server.listen.items[i]))
			continue;
		config_refuse(&why,
			"%s can be reached from other machines, and there is no TLS: set "
			"tls.certificate and tls.key, or server.behind_proxy when a proxy in front "
			"does TLS",
			c->server.listen.items[i]);
		fault(l, "server", "listen", &why);
	}
}

static void rules_of_proxies(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	if (!c->server.proxy_protocol || c->server.trusted_proxies.count)
		return;
	config_refuse(&why,
		"no proxy is trusted to send such headers: name them in server.trusted_proxies");
	fault(l, "server", "proxy_protocol", &why);
}

static void rules_of_limits(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	if (c->limits.data > c->limits.message) {
		bool given =
			l->config->origins->keys[key_of("limits", "data") - config_keys].source;
		config_refuse(&why,
			given ? "this is more than limits.message, in which it must fit"
			      : "limits.data is more than that, and must fit in it");
		fault(l, "limits", given ? "data" : "message", &why);
	}
}

static void rules_of_own_issuer(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	size_t n = strlen(c->issuer.url);
	if (n && c->issuer.url[n - 1] == '/') {
		config_refuse(&why, "the address ends without a slash");
		config_instead(&why, "%.*s", (int)n - 1, c->issuer.url);
		fault(l, "issuer", "url", &why);
	}
	if (!c->issuer.enabled && !c->issuers.count) {
		config_refuse(&why, "nobody could sign in: there is no other issuer (see issuers)");
		fault(l, "issuer", "enabled", &why);
	}
}

/* Where an issuer's keys come from: one place, and with a secret none. */
static void rules_of_keys(struct config_loader *l, size_t i)
{
	const struct config_issuer *one = l->config->issuers.items + i;
	struct config_why why = {0};
	char address[DISCOVERY_URL_MAX + 1];
	int places = !!*one->jwks_file + !!*one->jwks_url + !!*one->secret;
	if (places > 1) {
		config_refuse(&why, "one of jwks_file, jwks_url and secret is enough");
		fault_in(l, "issuers", i, "issuer", &why);
	} else if (!places && !*one->discovery_url && !*one->introspection_url &&
		(!discovery_address(str_of(one->issuer), 0, address) ||
			!fetch_allowed(address, NULL))) {
		config_refuse(&why,
			"its discovery document cannot be fetched, because its name does not begin "
			"with https://: one of discovery_url, jwks_url, jwks_file and secret is "
			"needed");
		fault_in(l, "issuers", i, "issuer", &why);
	}
}

/* HMACs are for who shares a secret, and nobody else: a public key is none. */
static void rules_of_secret(struct config_loader *l, size_t i)
{
	const struct config_issuer *one = l->config->issuers.items + i;
	size_t n = strlen(one->secret), needed = 32;
	struct config_why why = {0};
	for (size_t k = 0; k < one->algorithms.count; k++) {
		enum jwa alg = JWA_RS256;
		bool hmac = jwa_find(str_of(one->algorithms.items[k]), &alg) &&
			jwa_info(alg)->kind == JWK_OCT;
		size_t bytes = jwa_info(alg)->digest_bits / 8;
		if (hmac && bytes > needed)
			needed = bytes;
		if (hmac == (n > 0))
			continue;
		config_refuse(&why,
			hmac ? "%s needs a secret"
			     : "%s is no signature by a secret: write HS256, HS384 or HS512",
			one->algorithms.items[k]);
		fault_in(l, "issuers", i, "algorithms", &why);
		return;
	}
	if (n && n < needed) {
		config_refuse(
			&why, "the secret has %zu bytes, and its algorithm needs %zu", n, needed);
		fault_in(l, "issuers", i, "secret", &why);
	}
}

static void rules_of_introspection(struct config_loader *l, size_t i)
{
	const struct config_issuer *one = l->config->issuers.items + i;
	struct config_why why = {0};
	bool fixed = *one->jwks_file || *one->jwks_url || *one->secret;
	if (!*one->client_id != !*one->client_secret) {
		config_refuse(&why, "client_id and client_secret go together");
		fault_in(l, "issuers", i, *one->client_id ? "client_id" : "client_secret", &why);
	}
	if (*one->introspection_url && !*one->client_id) {
		config_refuse(&why, "asking there needs client_id and client_secret");
		fault_in(l, "issuers", i, "introspection_url", &why);
	}
	if (*one->client_id && !*one->introspection_url && fixed) {
		config_refuse(&why,
			"introspection_url is missing: with its keys given here, no discovery "
			"document is read that would name it");
		fault_in(l, "issuers", i, "client_id", &why);
	}
	for (size_t j = 0; j < i && *one->client_id; j++) {
		if (!*l->config->issuers.items[j].client_id)
			continue;
		config_refuse(&why,
			"another record has one: a token that is no JWT would not say "
			"which of the two is to be asked");
		fault_in(l, "issuers", i, "client_id", &why);
	}
}

static void rules_of_roles(struct config_loader *l, size_t i)
{
	const struct config_issuer *one = l->config->issuers.items + i;
	struct config_why why = {0};
	if (!one->role_claims.count == !one->role_scopes.count)
		return;
	config_refuse(&why,
		"role_claims and role_scopes go together: where roles are, and what "
		"each allows");
	fault_in(l, "issuers", i, one->role_claims.count ? "role_claims" : "role_scopes", &why);
}

static void rules_of_issuers(struct config_loader *l)
{
	const struct config *c = l->config;
	for (size_t i = 0; i < c->issuers.count; i++) {
		const struct config_issuer *one = c->issuers.items + i;
		struct config_why why = {0};
		rules_of_keys(l, i);
		rules_of_secret(l, i);
		rules_of_introspection(l, i);
		rules_of_roles(l, i);
		if (c->issuer.enabled && !strcmp(one->issuer, c->issuer.url)) {
			config_refuse(&why, "this is the embedded issuer (issuer.url)");
			fault_in(l, "issuers", i, "issuer", &why);
		}
		for (size_t j = 0; j < i; j++) {
			bool same_issuer = !strcmp(one->issuer, c->issuers.items[j].issuer);
			bool same_alias = !strcmp(one->alias, c->issuers.items[j].alias);
			config_refuse(&why, "another record has the same");
			if (same_issuer || same_alias)
				fault_in(l, "issuers", i, same_issuer ? "issuer" : "alias", &why);
		}
	}
}

static bool has_turn(const struct config_ice_server *server)
{
	for (size_t i = 0; i < server->urls.count; i++)
		if (!strncmp(server->urls.items[i], "turn", 4))
			return true;
	return false;
}

static size_t told_bytes(const struct config_ice_server *server)
{
	size_t n = strlen(server->username) + strlen(server->credential);
	for (size_t i = 0; i < server->urls.count; i++)
		n += strlen(server->urls.items[i]);
	return n;
}

/* Every answer to room.join names them all. */
static void rules_of_ice_bytes(struct config_loader *l)
{
	size_t n = 0;
	for (size_t i = 0; i < l->config->ice_servers.count; i++) {
		n += told_bytes(l->config->ice_servers.items + i);
		if (n <= ICE_MAX_BYTES)
			continue;
		struct config_why why = {0};
		config_refuse(&why,
			"urls, usernames and credentials of all ice_servers are more than %d bytes "
			"together, and clients are told of them often: name fewer, or shorter",
			ICE_MAX_BYTES);
		fault_in(l, "ice_servers", i, "urls", &why);
		return;
	}
}

static void rules_of_ice_servers(struct config_loader *l)
{
	for (size_t i = 0; i < l->config->ice_servers.count; i++) {
		const struct config_ice_server *server = l->config->ice_servers.items + i;
		bool secret = *server->secret, fixed = *server->username || *server->credential;
		struct config_why why = {0};
		if (secret && fixed) {
			config_refuse(&why, "a secret takes the place of username and credential");
			fault_in(l, "ice_servers", i, "secret", &why);
		} else if (fixed && (!*server->username || !*server->credential)) {
			config_refuse(&why, "username and credential go together");
			fault_in(l, "ice_servers", i, *server->username ? "username" : "credential",
				&why);
		} else if (has_turn(server) && !secret && !fixed) {
			config_refuse(
				&why, "a TURN server needs a secret, or username and credential");
			fault_in(l, "ice_servers", i, "urls", &why);
		}
	}
}

/* Secrets of what we sign. */
static bool is_signing_secret(const char *secret, struct config_why *why)
{
	return signing_secret_valid(str_of(secret)) ||
		config_refuse(why,
			"this is not `whsec_` and the base64 of %d to %d bytes: openssl rand "
			"-base64 32 makes some",
			SIGNING_KEY_MIN, SIGNING_KEY_MAX);
}

static bool names_an_event(const char *glob)
{
	for (int e = 0; e < HOOK_EVENT_COUNT; e++)
		if (str_glob(str_of(glob), str_of(hook_type((enum hook_event)e))))
			return true;
	return false;
}

static void rules_of_events(struct config_loader *l, size_t i)
{
	const struct config_list *events = &l->config->webhooks.items[i].events;
	struct config_why why = {0};
	for (size_t k = 0; k < events->count; k++) {
		if (names_an_event(events->items[k]))
			continue;
		struct nearest n = nearest_to(str_of(events->items[k]));
		for (int e = 0; e < HOOK_EVENT_COUNT; e++)
			nearest_try(&n, str_of(hook_type((enum hook_event)e)));
		config_refuse(&why, "there is no event `%s`",
			config_quote(str_of(events->items[k])).text);
		if (n.word.n)
			config_instead(&why, STR_FMT, STR_ARG(n.word));
		fault_in(l, "webhooks", i, "events", &why);
	}
}

/* By which what waits for it is kept. */
static const char *webhook_name(const struct config_webhook *w)
{
	return *w->name ? w->name : w->url;
}

static void rules_of_webhooks(struct config_loader *l)
{
	for (size_t i = 0; i < l->config->webhooks.count; i++) {
		const struct config_webhook *one = l->config->webhooks.items + i;
		struct config_why why = {0};
		if (!is_signing_secret(one->secret, &why))
			fault_in(l, "webhooks", i, "secret", &why);
		if (*one->previous_secret && !is_signing_secret(one->previous_secret, &why))
			fault_in(l, "webhooks", i, "previous_secret", &why);
		rules_of_events(l, i);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(webhook_name(one),
				    webhook_name(l->config->webhooks.items + j)) != 0)
				continue;
			config_refuse(&why, "another record has the same");
			fault_in(l, "webhooks", i, *one->name ? "name" : "url", &why);
		}
	}
}

static void rules_of_authorize(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	if (*c->authorize.secret && !is_signing_secret(c->authorize.secret, &why))
		fault(l, "authorize", "secret", &why);
	if (*c->authorize.previous_secret && !is_signing_secret(c->authorize.previous_secret, &why))
		fault(l, "authorize", "previous_secret", &why);
	if (*c->authorize.url && !*c->authorize.secret) {
		config_refuse(
			&why, "authorize.secret is missing: the backend has to know who asks");
		fault(l, "authorize", "url", &why);
	}
	if (!*c->authorize.url != !c->authorize.on.count) {
		config_refuse(&why, "authorize.url and authorize.on go together");
		fault(l, "authorize", *c->authorize.url ? "url" : "on", &why);
	}
}

/* What is wrong with a dataset, at the field that it is wrong in. */
static void fault_of_dataset(
	struct config_loader *l, size_t i, const struct definition_problem *problem)
{
	struct config_why why = {0};
	bool name = strcmp(problem->field, "dataset") == 0;
	config_refuse(&why, "%s", problem->why);
	fault_in(l, "datasets", i, name ? "name" : problem->field, &why);
}

static void rules_of_datasets(struct config_loader *l)
{
	for (size_t i = 0; i < l->config->datasets.count; i++) {
		const struct config_dataset *one = l->config->datasets.items + i;
		struct definition_problem problem;
		struct config_why why = {0};
		struct definition *d = config_definition(one);
		if (definition_sound(d, &problem))
			fault_of_dataset(l, i, &problem);
		definition_unref(&d);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(one->name, l->config->datasets.items[j].name) != 0)
				continue;
			config_refuse(&why, "another record has the same");
			fault_in(l, "datasets", i, "name", &why);
		}
	}
}

void config_rules(struct config_loader *l)
{
	rules_of_listening(l);
	rules_of_proxies(l);
	rules_of_limits(l);
	rules_of_own_issuer(l);
	rules_of_issuers(l);
	rules_of_ice_servers(l);
	rules_of_ice_bytes(l);
	rules_of_webhooks(l);
	rules_of_authorize(l);
	rules_of_datasets(l);
}

/* False, with the sentence, when there is a name and no file to read. */
static bool is_readable(const char *path, struct config_why *why)
{
	return !*path || !access(path, R_OK) ||
		config_refuse(why, "`%s` cannot be read: %s", config_quote(str_of(path)).text,
			strerror(errno));
}

/* Each against its database, as far as it is one at all. */
static void rules_of_databases(struct config_loader *l)
{
	for (size_t i = 0; i < l->config->datasets.count; i++) {
		struct definition *d = config_definition(&l->config->datasets.items[i]);
		struct definition_problem problem;
		if (!definition_sound(d, &problem) && definition_check(d, &problem))
			fault_of_dataset(l, i, &problem);
		definition_unref(&d);
	}
}

void config_rules_of_files(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_why why = {0};
	for (const struct config_section *section = config_sections; section->name; section++)
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (!section->record_size && key->type == CONFIG_PATH &&
				!is_readable(*(const char **)config_slot(l->config, key), &why))
				fault(l, key->section, key->name, &why);
	for (size_t i = 0; i < c->issuers.count; i++)
		if (!is_readable(c->issuers.items[i].jwks_file, &why))
			fault_in(l, "issuers", i, "jwks_file", &why);
	rules_of_databases(l);
}
