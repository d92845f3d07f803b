#include "service/methods.h"

#include "core/json_scan.h"
#include "core/map.h"

#include <assert.h>

enum { NAME_MAX_BYTES = 128 }; /* with its escapes */

static struct map methods;

void methods_add(const struct method *table)
{
	for (const struct method *m = table; m->name; m++) {
		assert(!map_get(&methods, str_of(m->name)));
		map_put(&methods, str_of(m->name), (void *)(uintptr_t)m);
	}
}

void methods_free(void)
{
	for (size_t i = 0; methods.count;) {
		const struct method *m = methods_next(&i);
		map_remove(&methods, str_of(m->name));
		i = 0;
	}
	map_free(&methods);
}

const struct method *method_find(struct str name)
{
	char plain[NAME_MAX_BYTES];
	if (name.n && memchr(name.p, '\\', name.n)) { /* "room\u002ejoin" is the same name */
		size_t n = 0;
		if (name.n > sizeof(plain) || json_decode(name, plain, &n))
			return NULL;
		name = (struct str){plain, n};
	}
	return map_get(&methods, name);
}

bool methods_have_domain(struct str domain)
{
	const struct method *m;
	for (size_t i = 0; (m = methods_next(&i));)
		if (str_starts(str_of(m->name), domain) && m->name[domain.n] == '.')
			return true;
	return false;
}

const struct method *methods_next(size_t *i)
{
	return map_next(&methods, i);
}
