#include "dataset/definition.h"

#include "core/mem.h"

#include <stdatomic.h>
#include <stdint.h>

/* The definition, its count, and behind it all its tables and bytes in one block. */
struct counted {
	struct definition d;
	atomic_int refs;
	max_align_t rest[];
};

static size_t bytes_of(const struct definition *d)
{
	size_t n = d->name.n + d->database.n + d->table.n;
	for (size_t i = 0; i < RULES; i++)
		n += d->rules[i].n;
	for (size_t i = 0; i < d->depend_count; i++)
		n += d->depends[i].n;
	for (size_t i = 0; i < d->hidden_count; i++)
		n += d->hidden[i].column.n + d->hidden[i].unless.n;
	for (size_t i = 0; i < d->key_count; i++)
		n += d->key[i].n;
	return n;
}

struct definition *definition_new(const struct definition *from)
{
	size_t tables = (from->depend_count + from->key_count) * sizeof(struct str) +
		from->hidden_count * sizeof(struct hidden_column);
	struct counted *c = mem_alloc(sizeof(*c) + tables + bytes_of(from));
	struct definition *d = &c->d;
	char *at = (char *)c->rest + tables;
	*d = *from;
	d->hidden = (struct hidden_column *)c->rest;
	d->depends = (struct str *)(d->hidden + from->hidden_count);
	d->key = d->depends + from->depend_count;
	d->name = str_put(&at, from->name);
	d->database = str_put(&at, from->database);
	d->table = str_put(&at, from->table);
	for (size_t i = 0; i < RULES; i++)
		d->rules[i] = str_put(&at, from->rules[i]);
	for (size_t i = 0; i < from->depend_count; i++)
		d->depends[i] = str_put(&at, from->depends[i]);
	for (size_t i = 0; i < from->hidden_count; i++) {
		d->hidden[i].column = str_put(&at, from->hidden[i].column);
		d->hidden[i].unless = str_put(&at, from->hidden[i].unless);
	}
	for (size_t i = 0; i < from->key_count; i++)
		d->key[i] = str_put(&at, from->key[i]);
	atomic_init(&c->refs, 1);
	return d;
}

struct definition *definition_ref(const struct definition *d)
{
	struct counted *c = (struct counted *)(uintptr_t)d;
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return &c->d;
}

void definition_unref(struct definition **d)
{
	struct counted *c = (struct counted *)(void *)*d;
	*d = NULL;
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		free(c);
}
