#include "service/routes.h"

#include <assert.h>

enum { TABLES_MAX = 16 };

static const struct http_route *tables[TABLES_MAX];
static size_t table_count;
static const struct config *config;

void routes_configure(const struct config *c)
{
	config = c;
}

void routes_add(const struct http_route *table)
{
	assert(table_count < TABLES_MAX);
	tables[table_count++] = table;
}

void routes_free(void)
{
	table_count = 0;
}

static bool matches(const struct http_route *route, struct str path)
{
	struct str pattern = str_of(route->path);
	if (pattern.n && pattern.p[pattern.n - 1] == '*') {
		pattern.n--;
		return str_starts(path, pattern);
	}
	return str_eq(pattern, path);
}

const struct http_route *route_find(struct str path, bool internal)
{
	bool moved = config->server.internal_listen[0] != 0;
	for (size_t i = 0; i < table_count; i++)
		for (const struct http_route *r = tables[i]; r->path; r++)
			if (matches(r, path) && (!moved || r->internal == internal))
				return r;
	return NULL;
}

const char origin_refused[] =
	"This Origin is not allowed: add it to server.origins in the configuration.";

bool origin_allowed(struct str origin, struct str host)
{
	if (config->server.origins.count) {
		for (size_t i = 0; i < config->server.origins.count; i++)
			if (str_is(origin, config->server.origins.items[i]))
				return true;
		return false;
	}
	for (const char *const *scheme = (const char *const[]){"https://", "http://", NULL};
		*scheme; scheme++) {
		struct str prefix = str_of(*scheme);
		if (str_starts(origin, prefix) &&
			str_eq((struct str){origin.p + prefix.n, origin.n - prefix.n}, host))
			return true;
	}
	return false;
}
