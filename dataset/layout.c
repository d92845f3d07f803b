#include "dataset/layout.h"

#include "core/mem.h"

#include <sqlite3.h>
#include <stdatomic.h>

/* The layout, its count, and behind it all its tables and bytes in one block. */
struct counted {
	struct layout l;
	atomic_int refs;
	max_align_t rest[];
};

struct layout *layout_new(const struct layout *from)
{
	size_t tables = from->count * sizeof(struct column) + from->key_count * sizeof(size_t);
	size_t bytes = from->table.n;
	for (size_t i = 0; i < from->count; i++) {
		const struct column *column = &from->columns[i];
		bytes += column->name.n + column->type.n + column->collation.n;
	}
	struct counted *c = mem_alloc(sizeof(*c) + tables + bytes);
	struct layout *l = &c->l;
	char *at = (char *)c->rest + tables;
	*l = *from;
	l->columns = (struct column *)c->rest;
	l->key = (size_t *)(l->columns + from->count);
	l->table = str_put(&at, from->table);
	for (size_t i = 0; i < from->count; i++) {
		struct column *column = &l->columns[i];
		*column = from->columns[i];
		column->name = str_put(&at, column->name);
		column->type = str_put(&at, column->type);
		column->collation = str_put(&at, column->collation);
	}
	for (size_t i = 0; i < from->key_count; i++)
		l->key[i] = from->key[i];
	atomic_init(&c->refs, 1);
	return l;
}

struct layout *layout_ref(const struct layout *l)
{
	struct counted *c = (struct counted *)(uintptr_t)l;
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return &c->l;
}

void layout_unref(struct layout **l)
{
	struct counted *c = (struct counted *)(void *)*l;
	*l = NULL;
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		free(c);
}

size_t layout_find(const struct layout *l, struct str name)
{
	for (size_t i = 0; i < l->count; i++) {
		struct str have = l->columns[i].name;
		if (have.n == name.n &&
			(!name.n || sqlite3_strnicmp(have.p, name.p, (int)name.n) == 0))
			return i;
	}
	return SIZE_MAX;
}
