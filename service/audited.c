#include "service/audited.h"

#include "auth/audit.h"

#include <stdio.h>

enum { DETAIL_MAX = 512 };

/* Params that name what it is about. Everything else stays out: it may be a password. */
static const struct {
	const char *param;
	enum { IS_USER, IS_CLIENT, IS_OTHER } is;
} telling[] = {
	{"user", IS_USER},
	{"client", IS_CLIENT},
	{"client_id", IS_CLIENT},
	{"name", IS_OTHER},
	{"scope", IS_OTHER},
	{"session", IS_OTHER},
	{"sid", IS_OTHER},
	{"kid", IS_OTHER},
	{"jti", IS_OTHER},
	{"room", IS_OTHER},
	{"dataset", IS_OTHER},
	{"database", IS_OTHER},
	{"table", IS_OTHER},
};

/* A string of the params; n 0: it has no such member. */
static struct str param(const struct call *c, const char *name)
{
	for (const struct field *f = c->method->fields; f->name; f++)
		if (f->type == FIELD_STRING && strcmp(f->name, name) == 0)
			return *(const struct str *)(const void *)((const char *)c->params +
				f->offset);
	return STR("");
}

static struct str other(const struct call *c, char *out)
{
	struct buf b = BUF_INIT(DETAIL_MAX);
	for (size_t i = 0; i < sizeof(telling) / sizeof(*telling); i++) {
		struct str value = telling[i].is == IS_OTHER ? param(c, telling[i].param) : STR("");
		if (value.n)
			buf_addf(&b, "%s%s=" STR_FMT, b.n ? " " : "", telling[i].param,
				STR_ARG(value));
	}
	size_t n = b.n;
	if (n)
		memcpy(out, b.p, n);
	buf_free(&b);
	return (struct str){out, n};
}

static struct str whom(const struct call *c, int is)
{
	struct str found = STR("");
	for (size_t i = 0; i < sizeof(telling) / sizeof(*telling) && !found.n; i++)
		if ((int)telling[i].is == is)
			found = param(c, telling[i].param);
	return found;
}

void audited(const struct call *c, struct audited_by by)
{
	char detail[DETAIL_MAX];
	if (!(c->method->scope & SCOPE_ADMIN) || c->method->flags & METHOD_READS)
		return;
	struct str user = whom(c, IS_USER);
	if (!user.n && str_starts(str_of(c->method->name), STR("user.")))
		user = param(c, "name");
	audit_add(.action = c->method->name,
		.outcome = c->outcome ? err_info(c->outcome)->reason : NULL,
		.actor = by.operator? STR(AUDIT_OPERATOR) : c->who->user, .user = user,
		.client = whom(c, IS_CLIENT), .address = by.address, .detail = other(c, detail));
}
