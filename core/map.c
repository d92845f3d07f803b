#include "core/map.h"

#include "core/mem.h"

#include <assert.h>
#include <pthread.h>
#include <sys/random.h>

static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	ssize_t got = getrandom(seed, sizeof(seed), 0);
	assert(got == (ssize_t)sizeof(seed));
	(void)got;
}

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = ROTATE(v[1], 13) ^ v[0], v[0] = ROTATE(v[0], 32);
	v[2] += v[3], v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = ROTATE(v[1], 17) ^ v[2], v[2] = ROTATE(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). */
static uint32_t sip(struct str s)
{
	pthread_once(&seeded, make_seed);
	uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
		seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
	size_t i = 0;
	for (; i + 8 <= s.n; i += 8) {
		uint64_t m;
		memcpy(&m, s.p + i, 8);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	uint64_t last = (uint64_t)s.n << 56;
	for (size_t shift = 0; i < s.n; i++, shift += 8)
		last |= (uint64_t)(unsigned char)s.p[i] << shift;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static struct str key_of(const struct map_slot *slot)
{
	return (struct str){slot->key, slot->key_n};
}

/* The slot that holds the key, or the free one where it would go. */
static size_t place(const struct map *m, struct str key, uint32_t hash)
{
	size_t i = hash & m->mask;
	while (m->slots[i].value &&
		(m->slots[i].hash != hash || !str_eq(key_of(&m->slots[i]), key)))
		i = (i + 1) & m->mask;
	return i;
}

void map_free(struct map *m)
{
	assert(m->count == 0);
	free(m->slots);
	*m = (struct map){0};
}

void *map_get(const struct map *m, struct str key)
{
	return m->slots ? m->slots[place(m, key, sip(key))].value : NULL;
}

static void grow(struct map *m)
{
	struct map old = *m;
	size_t size = old.slots ? (old.mask + 1) * 2 : 16;
	m->slots = mem_alloc(size * sizeof(*m->slots));
	m->mask = size - 1;
	for (size_t i = 0; old.slots && i <= old.mask; i++)
		if (old.slots[i].value)
			m->slots[place(m, key_of(&old.slots[i]), old.slots[i].hash)] = old.slots[i];
	free(old.slots);
}

void map_put(struct map *m, struct str key, void *value)
{
	assert(value && key.n <= UINT32_MAX);
	if (!m->slots || (m->count + 1) * 4 > (m->mask + 1) * 3)
		grow(m);
	uint32_t hash = sip(key);
	size_t i = place(m, key, hash);
	if (!m->slots[i].value)
		m->count++;
	m->slots[i] = (struct map_slot){key.p, value, (uint32_t)key.n, hash};
}

void *map_remove(struct map *m, struct str key)
{
	if (!m->slots)
		return NULL;
	size_t hole = place(m, key, sip(key));
	void *value = m->slots[hole].value;
	if (!value)
		return NULL;
	m->count--;
	/* Close the hole: what follows it and may not stand behind a free slot moves up. */
	for (size_t i = (hole + 1) & m->mask; m->slots[i].value; i = (i + 1) & m->mask) {
		size_t home = m->slots[i].hash & m->mask;
		if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct map_slot){0};
	return value;
}

void *map_next(const struct map *m, size_t *i)
{
	while (m->slots && *i <= m->mask) {
		void *value = m->slots[(*i)++].value;
		if (value)
			return value;
	}
	return NULL;
}
