#include "service/issuers.h"

#include "core/mem.h"
#include "service/authn.h"
#include "service/config.h"

#include <stdio.h>

static struct issuer issuers[BEARER_ISSUERS_MAX];
static struct issuer_rule rules[BEARER_ISSUERS_MAX];
static size_t count;

size_t issuers_count(void)
{
	return count;
}

const struct issuer *issuers_at(size_t i)
{
	return &issuers[i];
}

const struct issuer_rule *issuers_rules(void)
{
	return rules;
}

int issuers_asked(void)
{
	for (size_t i = 0; i < count; i++)
		if (*issuers[i].client_id)
			return (int)i;
	return -1;
}

bool issuer_is_fetched(const struct issuer *i)
{
	bool only_asked = *i->answers_url && !*i->keys_url && !*i->document_url;
	return !i->fixed && !only_asked;
}

bool issuer_is_discovered(const struct issuer *i)
{
	return issuer_is_fetched(i) && !*i->keys_url;
}

static uint32_t algorithms(const struct config_list *list)
{
	uint32_t bits = 0;
	enum jwa alg;
	for (size_t i = 0; i < list->count; i++)
		if (jwa_find(str_of(list->items[i]), &alg))
			bits |= JWA_BIT(alg);
	if (bits & JWA_BIT(JWA_EdDSA)) /* one algorithm under two names (RFC 9864) */
		bits |= JWA_BIT(JWA_Ed25519);
	return bits;
}

static uint32_t scopes_of(const struct config_list *list)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < list->count; i++)
		bits |= scopes_parse(str_of(list->items[i]));
	return bits;
}

static enum err parse_keys(
	struct str text, const char *where, struct jwk_set **ret, struct buf *why)
{
	const char *reason = "";
	enum err err = jwk_set_parse(text, ret, &reason);
	if (err)
		buf_addf(why, "%s holds no usable JWK set: %s\n", where, reason);
	return err;
}

static enum err load_keys(const char *path, struct jwk_set **ret, struct buf *why)
{
	FILE *file = fopen(path, "rb");
	if (!file) {
		buf_addf(why, "cannot read the keys in %s: %m\n", path);
		return ERR_NOT_FOUND;
	}
	struct buf text = BUF_INIT(JWKS_MAX);
	buf_add_stream(&text, file);
	fclose(file);
	enum err err = text.err;
	if (err)
		buf_addf(why, "the keys in %s are too large\n", path);
	else
		err = parse_keys(buf_str(&text), path, ret, why);
	buf_free(&text);
	return err;
}

/* The table of the configuration's lines, which have been looked at: each role as text of its own. */
static struct role_scopes *table_of(const struct config_list *list)
{
	struct role_scopes *table = mem_alloc((list->count + 1) * sizeof(*table));
	for (size_t i = 0; i < list->count; i++) {
		struct str role = {"", 0}, wrong;
		role_scopes_read(str_of(list->items[i]), &role, &table[i].scopes, &wrong);
		table[i].role = mem_copy(role);
	}
	return table;
}

static void add_mapping(struct issuer *i, struct issuer_rule *rule, const struct config_issuer *c)
{
	i->scopes = config_spans(&c->scope_claims);
	i->roles = config_spans(&c->role_claims);
	i->table = table_of(&c->role_scopes);
	rule->mapping = (struct claim_mapping){.name = str_of(c->name_claim),
		.scopes = i->scopes,
		.scope_count = c->scope_claims.count,
		.roles = i->roles,
		.role_count = c->role_claims.count,
		.table = i->table,
		.table_count = c->role_scopes.count,
		.room_roles = str_of(c->room_roles_claim),
		.rooms = str_of(c->rooms_claim)};
}

static enum err add_configured(const struct config_issuer *c, struct buf *why)
{
	struct issuer *i = &issuers[count];
	struct issuer_rule *rule = &rules[count++];
	*i = (struct issuer){.keys_url = c->jwks_url,
		.document_url = c->discovery_url,
		.answers_url = c->introspection_url,
		.client_id = c->client_id,
		.client_secret = c->client_secret,
		.audiences = config_spans(&c->audiences)};
	*rule = (struct issuer_rule){.issuer = str_of(c->issuer),
		.alias = str_of(c->alias),
		.audiences = i->audiences,
		.audience_count = c->audiences.count,
		.algs = algorithms(&c->algorithms),
		.typ_jwt = c->allow_typ_jwt,
		.default_scopes = scopes_of(&c->default_scopes)};
	add_mapping(i, rule, c);
	if (c->secret[0] && jwk_set_of_secret(str_of(c->secret), &i->fixed)) {
		buf_addf(why, "the secret of issuer %s is too short\n", c->issuer);
		return ERR_PARAMS;
	}
	return c->jwks_file[0] ? load_keys(c->jwks_file, &i->fixed, why) : ERR_OK;
}

static enum err add_embedded(const struct authn_embedded *e, struct buf *why)
{
	struct issuer *i = &issuers[count];
	*i = (struct issuer){.keys_url = "",
		.document_url = "",
		.answers_url = "",
		.client_id = "",
		.client_secret = "",
		.audiences = mem_new(struct str)};
	i->audiences[0] = e->audience;
	rules[count++] = (struct issuer_rule){.issuer = e->url,
		.audiences = i->audiences,
		.audience_count = 1,
		.algs = jwa_default()};
	return parse_keys(e->jwks, "the embedded issuer", &i->fixed, why);
}

enum err issuers_configure(
	const struct config *config, const struct authn_embedded *embedded, struct buf *why)
{
	if (config->issuers.count + 1 > BEARER_ISSUERS_MAX) {
		buf_addf(why, "at most %d issuers are possible\n", BEARER_ISSUERS_MAX - 1);
		return ERR_TOO_LARGE;
	}
	enum err err = embedded->url.n ? add_embedded(embedded, why) : ERR_OK;
	for (size_t i = 0; !err && i < config->issuers.count; i++)
		err = add_configured(&config->issuers.items[i], why);
	return err;
}

void issuers_finish(void)
{
	while (count > 0) {
		struct issuer *i = &issuers[--count];
		for (size_t k = 0; k < rules[count].mapping.table_count; k++)
			free((void *)(uintptr_t)i->table[k].role);
		jwk_set_unref(&i->fixed);
		free(i->audiences);
		free(i->scopes);
		free(i->roles);
		free(i->table);
	}
}
