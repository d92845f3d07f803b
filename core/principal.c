#include "core/principal.h"

#include "core/json_out.h"
#include "core/mem.h"

#include <stdatomic.h>

enum { GLOBS_MAX = 4096, TEXT_MAX_BYTES = 16384 }; /* of a record: more than any token has */

/* Beside the scopes of a record: claims stand at its end. So a record without any is as it always was. */
#define WITH_CLAIMS (UINT32_C(1) << 31)

/* The principal, its count, and behind it all its bytes in one block. */
struct counted {
	struct principal p;
	atomic_int refs;
	char bytes[];
};

static size_t list_size(const struct str *list, size_t count)
{
	size_t size = count * sizeof(struct str);
	for (size_t i = 0; i < count; i++)
		size += list[i].n;
	return size;
}

/* Tables first: they want alignment. */
static struct str *put_table(char **at, size_t count)
{
	struct str *table = (struct str *)(void *)*at;
	*at += count * sizeof(struct str);
	return table;
}

static size_t roles_size(const struct principal *p)
{
	size_t size = p->room_role_count * sizeof(*p->room_roles);
	for (size_t i = 0; i < p->room_role_count; i++)
		size += p->room_roles[i].names.n;
	return size;
}

static size_t claims_size(const struct principal *p)
{
	size_t size = p->claim_count * sizeof(*p->claims);
	for (size_t i = 0; i < p->claim_count; i++)
		size += p->claims[i].name.n + p->claims[i].json.n;
	return size;
}

static void put_claims(struct principal *to, const struct principal *from, char **at)
{
	for (size_t i = 0; i < from->claim_count; i++)
		to->claims[i] = (struct principal_claim){
			str_put(at, from->claims[i].name), str_put(at, from->claims[i].json)};
}

struct principal *principal_new(const struct principal *from)
{
	size_t size = roles_size(from) + claims_size(from) + from->user.n + from->name.n +
		from->issuer.n + from->subject.n + from->client.n + from->jti.n + from->sid.n +
		list_size(from->rooms, from->room_count) +
		list_size(from->datasets, from->dataset_count);
	struct counted *c = mem_alloc(sizeof(*c) + sizeof(struct str) + size);
	char *at = c->bytes + (-(uintptr_t)c->bytes & (_Alignof(struct str) - 1));
	c->p = *from;
	c->p.rooms = put_table(&at, from->room_count);
	c->p.datasets = put_table(&at, from->dataset_count);
	c->p.claims = (struct principal_claim *)(void *)at;
	at += from->claim_count * sizeof(struct principal_claim);
	c->p.room_roles = (struct room_role *)(void *)at;
	at += from->room_role_count * sizeof(struct room_role);
	for (size_t i = 0; i < from->room_role_count; i++)
		c->p.room_roles[i] = (struct room_role){
			str_put(&at, from->room_roles[i].names), from->room_roles[i].role};
	for (size_t i = 0; i < from->room_count; i++)
		c->p.rooms[i] = str_put(&at, from->rooms[i]);
	for (size_t i = 0; i < from->dataset_count; i++)
		c->p.datasets[i] = str_put(&at, from->datasets[i]);
	put_claims(&c->p, from, &at);
	c->p.user = str_put(&at, from->user);
	c->p.name = str_put(&at, from->name);
	c->p.issuer = str_put(&at, from->issuer);
	c->p.subject = str_put(&at, from->subject);
	c->p.client = str_put(&at, from->client);
	c->p.jti = str_put(&at, from->jti);
	c->p.sid = str_put(&at, from->sid);
	atomic_init(&c->refs, 1);
	return &c->p;
}

struct principal *principal_ref(const struct principal *p)
{
	struct counted *c = (struct counted *)(uintptr_t)p;
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return &c->p;
}

void principal_unref(struct principal **p)
{
	struct counted *c = (struct counted *)(void *)*p;
	*p = NULL;
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		free(c);
}

static void put_list(struct buf *b, bool limited, const struct str *list, size_t count)
{
	record_put_int(b, limited);
	record_put_int(b, count);
	for (size_t i = 0; i < count; i++)
		record_put_str(b, list[i]);
}

void principal_put(struct buf *b, const struct principal *p)
{
	const struct str texts[] = {
		p->user, p->name, p->issuer, p->subject, p->client, p->jti, p->sid};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		record_put_str(b, texts[i]);
	record_put_int(b, p->scopes | (p->claim_count ? WITH_CLAIMS : 0));
	record_put_int(b, (uint64_t)p->expires_at);
	record_put_int(b, (uint64_t)p->issued_at);
	put_list(b, p->rooms_limited, p->rooms, p->room_count);
	put_list(b, p->datasets_limited, p->datasets, p->dataset_count);
	record_put_int(b, p->room_role_count);
	for (size_t i = 0; i < p->room_role_count; i++) {
		record_put_str(b, p->room_roles[i].names);
		record_put_int(b, p->room_roles[i].role);
	}
	if (p->claim_count)
		record_put_int(b, p->claim_count);
	for (size_t i = 0; i < p->claim_count; i++) {
		record_put_str(b, p->claims[i].name);
		record_put_str(b, p->claims[i].json);
	}
}

static size_t read_list(struct record_reader *r, bool *ret_limited, struct str **ret_list)
{
	*ret_limited = record_int(r, 1);
	size_t count = (size_t)record_int(r, GLOBS_MAX);
	*ret_list = mem_alloc((count + 1) * sizeof(struct str));
	for (size_t i = 0; i < count; i++)
		(*ret_list)[i] = record_str(r, TEXT_MAX_BYTES);
	return count;
}

static size_t read_room_roles(struct record_reader *r, struct room_role **ret_list)
{
	size_t count = (size_t)record_int(r, GLOBS_MAX);
	*ret_list = mem_alloc((count + 1) * sizeof(**ret_list));
	for (size_t i = 0; i < count; i++) {
		(*ret_list)[i].names = record_str(r, TEXT_MAX_BYTES);
		(*ret_list)[i].role = (enum role)record_int(r, ROLE_MODERATOR);
	}
	return count;
}

static size_t read_claims(struct record_reader *r, struct principal_claim **ret_list)
{
	size_t count = (size_t)record_int(r, GLOBS_MAX);
	*ret_list = mem_alloc((count + 1) * sizeof(**ret_list));
	for (size_t i = 0; i < count; i++) {
		(*ret_list)[i].name = record_str(r, TEXT_MAX_BYTES);
		(*ret_list)[i].json = record_str(r, TEXT_MAX_BYTES);
	}
	return count;
}

struct principal *principal_read(struct record_reader *r)
{
	struct principal p = {0}, *made = NULL;
	struct str *const texts[] = {
		&p.user, &p.name, &p.issuer, &p.subject, &p.client, &p.jti, &p.sid};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		*texts[i] = record_str(r, TEXT_MAX_BYTES);
	uint32_t scopes = (uint32_t)record_int(r, WITH_CLAIMS | ((1u << SCOPE_BITS) - 1));
	p.scopes = scopes & ((1u << SCOPE_BITS) - 1);
	r->bad |= (scopes & ~WITH_CLAIMS) != p.scopes;
	p.expires_at = (int64_t)record_int(r, INT64_MAX);
	p.issued_at = (int64_t)record_int(r, INT64_MAX);
	p.room_count = read_list(r, &p.rooms_limited, &p.rooms);
	p.dataset_count = read_list(r, &p.datasets_limited, &p.datasets);
	p.room_role_count = read_room_roles(r, &p.room_roles);
	if (scopes & WITH_CLAIMS)
		p.claim_count = read_claims(r, &p.claims);
	if (!r->bad)
		made = principal_new(&p);
	free(p.rooms);
	free(p.datasets);
	free(p.room_roles);
	free(p.claims);
	return made;
}

static bool matches(const struct str *globs, size_t count, struct str s)
{
	for (size_t i = 0; i < count; i++)
		if (str_glob(globs[i], s))
			return true;
	return false;
}

bool principal_sees_room(const struct principal *p, struct str room)
{
	if (principal_is_guest(p))
		return p->room_count == 1 && str_eq(p->rooms[0], room);
	return !p->rooms_limited || matches(p->rooms, p->room_count, room);
}

/* The rooms of a guest are names. */
static bool is_for(const struct principal *p, const struct room_role *r, struct str room)
{
	return !principal_is_guest(p) && str_glob(r->names, room);
}

enum role principal_room_role(const struct principal *p, struct str room)
{
	enum role most = ROLE_NONE;
	for (size_t i = 0; i < p->room_role_count; i++) {
		const struct room_role *r = &p->room_roles[i];
		if (str_eq(r->names, room))
			return r->role;
		if (r->role > most && is_for(p, r, room))
			most = r->role;
	}
	return most;
}

bool principal_sees_dataset(const struct principal *p, struct str dataset)
{
	return !p->datasets_limited || matches(p->datasets, p->dataset_count, dataset);
}

bool principal_claim(const struct principal *p, struct str name, struct str *ret_json)
{
	for (size_t i = 0; i < p->claim_count; i++)
		if (str_eq(p->claims[i].name, name)) {
			*ret_json = p->claims[i].json;
			return true;
		}
	return false;
}

static const char *const words[SCOPE_BITS] = {
#define SCOPE(name, word) word,
	SCOPES(SCOPE)
#undef SCOPE
};

const char *scope_word(enum scope scope)
{
	return scope ? words[__builtin_ctz((unsigned)scope)] : "";
}

uint32_t scopes_parse(struct str s)
{
	uint32_t scopes = 0;
	while (s.n) {
		const char *space = memchr(s.p, ' ', s.n);
		struct str word = {s.p, space ? (size_t)(space - s.p) : s.n};
		for (unsigned i = 0; i < SCOPE_BITS; i++)
			if (str_is(word, words[i]))
				scopes |= 1u << i;
		size_t step = word.n + (space ? 1 : 0);
		s.p += step;
		s.n -= step;
	}
	return scopes;
}

void scopes_write(struct json_out *o, uint32_t scopes)
{
	json_open(o, "scopes", '[');
	for (unsigned i = 0; i < SCOPE_BITS; i++)
		if (scopes & 1u << i)
			json_text(o, NULL, words[i]);
	json_close(o, ']');
}

struct str scopes_text(uint32_t scopes, char *out)
{
	size_t n = 0;
	for (unsigned i = 0; i < SCOPE_BITS; i++) {
		if (!(scopes & 1u << i))
			continue;
		if (n)
			out[n++] = ' ';
		size_t len = strlen(words[i]);
		memcpy(out + n, words[i], len);
		n += len;
	}
	return (struct str){out, n};
}
