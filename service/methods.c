#include "service/methods.h"

#include "core/map.h"

#include <assert.h>

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
	return map_get(&methods, name);
}

const struct method *methods_next(size_t *i)
{
	return map_next(&methods, i);
}
