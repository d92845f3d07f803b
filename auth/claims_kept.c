#include "auth/claims_kept.h"

#include "core/json_scan.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char names[CLAIMS_KEPT_MAX][CLAIM_NAME_MAX + 1]; /* behind the lock */
static atomic_size_t name_count;                        /* changed behind it */
static atomic_uint generation;

static bool same(const struct str *wanted, size_t count)
{
	for (size_t i = 0; i < count && count == name_count; i++)
		if (!str_is(wanted[i], names[i]))
			return false;
	return count == name_count;
}

void claims_keep(const struct str *wanted, size_t count)
{
	assert(count <= CLAIMS_KEPT_MAX);
	pthread_mutex_lock(&lock);
	if (!same(wanted, count)) {
		for (size_t i = 0; i < count; i++) {
			assert(wanted[i].n <= CLAIM_NAME_MAX);
			memcpy(names[i], wanted[i].p, wanted[i].n);
			names[i][wanted[i].n] = 0;
		}
		atomic_store(&name_count, count);
		atomic_fetch_add(&generation, 1);
	}
	pthread_mutex_unlock(&lock);
}

unsigned claims_kept_generation(void)
{
	return atomic_load_explicit(&generation, memory_order_relaxed);
}

static const char *kept_name(struct str key)
{
	for (size_t i = 0; i < name_count; i++)
		if (json_string_is(key, names[i]))
			return names[i];
	return NULL;
}

size_t claims_kept_in(
	struct str payload, char *text, struct principal_claim ret_claims[CLAIMS_KEPT_MAX])
{
	struct str key, value;
	size_t count = 0;
	if (!atomic_load_explicit(&name_count, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&lock);
	struct json_walk w = json_walk(payload);
	while (json_next(&w, &key, &value)) {
		const char *name = kept_name(key);
		if (name)
			ret_claims[count++] =
				(struct principal_claim){str_put(&text, str_of(name)), value};
	}
	pthread_mutex_unlock(&lock);
	return count;
}
