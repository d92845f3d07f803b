/* From one configuration to the next, while the service runs. */
#include "service/config_parts.h"

#include <assert.h>

enum { VALUE_MAX = CONFIG_FILE_MAX };

static bool differs(const struct config_key *key, const void *a, const void *b)
{
	struct buf one = BUF_INIT(VALUE_MAX), other = BUF_INIT(VALUE_MAX);
	config_print(key, (const char *)a + key->offset, &one);
	config_print(key, (const char *)b + key->offset, &other);
	bool yes = !str_eq(buf_str(&one), buf_str(&other));
	buf_free(&one);
	buf_free(&other);
	return yes;
}

static bool records_differ(
	const struct config_section *section, const struct config *a, const struct config *b)
{
	const struct config_records *one = config_records_of(a, section);
	const struct config_records *other = config_records_of(b, section);
	if (one->count != other->count)
		return true;
	for (size_t i = 0; i < one->count * section->record_size; i += section->record_size)
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (differs(key, (const char *)one->items + i,
				    (const char *)other->items + i))
				return true;
	return false;
}

void config_compare(const struct config *running, const struct config *fresh,
	config_difference *tell, void *context)
{
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size) {
			if (records_differ(section, running, fresh))
				tell(context, section->name, section->at_start);
			continue;
		}
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (differs(key, running, fresh))
				tell(context, key->path, key->at_start);
	}
}

/* Every value of a key moves by its bytes: numbers, pointers, lists. */
static void exchange(void *a, void *b, size_t n)
{
	char between[sizeof(struct config_list)];
	assert(n <= sizeof(between));
	memcpy(between, a, n);
	memcpy(a, b, n);
	memcpy(b, between, n);
}

void config_exchange(struct config *running, struct config *fresh)
{
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size && !section->at_start)
			exchange(config_records_of(running, section),
				config_records_of(fresh, section), sizeof(struct config_records));
		for (const struct config_key *key = config_first(section);
			key < config_end(section) && !section->record_size; key++)
			if (!key->at_start)
				exchange(config_slot(running, key), config_slot(fresh, key),
					key->size);
	}
}
