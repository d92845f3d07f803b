/* Who is chosen to answer a call, held against a plain list of who serves what. */
#include "lone_worker.h"

#include "core/mem.h"
#include "signaling/backends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { OPERATIONS = 20000, BACKENDS = 6, NAMES = 8, METHODS = 8 };

static unsigned seed = 54;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* ---- what core/worker.c would be: of the domains only "far" has its home elsewhere ---- */

static struct worker elsewhere;

struct worker *worker_home(struct str name)
{
	return str_is(name, "far") ? &elsewhere : &lone;
}

int workers_count(void)
{
	return 1;
}

struct worker *worker_at(int index)
{
	(void)index;
	return &lone;
}

void worker_gone(struct worker *w, struct addr endpoint, bool clean)
{
	(void)w, (void)endpoint, (void)clean;
}

void worker_connected(struct worker *w, struct addr endpoint, bool yes)
{
	(void)w, (void)endpoint, (void)yes;
}

void worker_granted(struct worker *w, struct addr endpoint, const struct principal *who)
{
	(void)w, (void)endpoint, (void)who;
}

/* ---- the model ---- */

static const char *const names[NAMES] = {
	"a", "a.x", "a.*", "a.x.*", "a.x.y", "far.*", "far.x", "lone"};
static const char *const methods[METHODS] = {
	"a", "a.x", "a.x.y", "a.x.y.z", "a.b", "far.x", "lone", "a.*"};

/* Which of the names stand for which method. */
static bool stands_for(const char *name, const char *method)
{
	size_t n = strlen(name);
	if (strchr(method, '*') || strncmp(method, "far", 3) == 0)
		return false;
	if (n > 2 && strcmp(name + n - 2, ".*") == 0)
		return strncmp(method, name, n - 1) == 0;
	return strcmp(name, method) == 0;
}

static struct {
	bool there, serves[NAMES];
	enum reach reach;
	unsigned under_way;
	uint64_t turn;
} model[BACKENDS];
static uint64_t turns;

static bool is_better(int a, int b)
{
	if (model[a].reach != model[b].reach)
		return model[a].reach < model[b].reach;
	if (model[a].under_way != model[b].under_way)
		return model[a].under_way < model[b].under_way;
	return model[a].turn < model[b].turn;
}

static bool may_be_asked(int i, const char *method)
{
	bool serves = false;
	for (int k = 0; k < NAMES; k++)
		serves |= model[i].serves[k] && stands_for(names[k], method);
	return model[i].there && model[i].reach != REACH_LOST && serves;
}

/* -1: nobody. Those who never had their turn are equals. */
static void check_choice(int chosen, const char *method)
{
	assert_true(chosen < 0 || may_be_asked(chosen, method));
	for (int i = 0; i < BACKENDS; i++)
		if (may_be_asked(i, method)) {
			assert_true(chosen >= 0);
			assert_false(is_better(i, chosen));
		}
}

static struct addr addr_of(int i)
{
	return (struct addr){.worker = 0, .slot = (uint32_t)i + 1, .generation = 7};
}

static void offer(int i)
{
	struct str some[NAMES];
	size_t count = 0;
	const struct backend *known = backends_find(addr_of(i));
	for (int k = 0; k < NAMES; k++) {
		model[i].serves[k] = !chance(3);
		if (model[i].serves[k])
			some[count++] = str_of(names[k]);
	}
	if (!model[i].there)
		model[i].turn = model[i].under_way = 0;
	model[i].there = true;
	model[i].reach = (enum reach)chance(3);
	backends_offer(addr_of(i), offer_new(some, count, known ? known->offer->load : NULL),
		model[i].reach);
}

static void burden(int i)
{
	struct load *load = backends_find(addr_of(i))->offer->load;
	if (chance(2)) {
		atomic_fetch_add(&load->under_way, 1);
		model[i].under_way++;
	} else if (model[i].under_way) {
		atomic_fetch_sub(&load->under_way, 1);
		model[i].under_way--;
	}
}

static void change(int i)
{
	if (!model[i].there || !chance(6)) {
		offer(i);
	} else if (!chance(8)) {
		backends_remove(backends_find(addr_of(i)));
		model[i].there = false;
	} else if (!chance(4)) {
		model[i].reach = (enum reach)chance(3);
		backends_find(addr_of(i))->reach = model[i].reach;
	} else {
		burden(i);
	}
}

static void the_one_with_the_least_to_do(void **state)
{
	(void)state;
	unsigned times[BACKENDS + 1] = {0};
	lone_start();
	for (int n = 0; n < OPERATIONS; n++) {
		change((int)chance(BACKENDS));
		const char *method = methods[chance(METHODS)];
		const struct backend *b = backends_choose(str_of(method));
		int chosen = b ? (int)b->addr.slot - 1 : -1;
		check_choice(chosen, method);
		times[chosen + 1]++;
		if (b)
			model[chosen].turn = ++turns;
	}
	for (int i = 0; i <= BACKENDS; i++)
		assert_true(times[i] > OPERATIONS / 100); /* each had its turn, and so had nobody */
	for (int i = 0; i < BACKENDS; i++)
		if (model[i].there)
			backends_remove(backends_find(addr_of(i)));
	backends_stop();
	lone_stop();
}

static void names_that_are_too_long(void **state)
{
	(void)state;
	char name[METHOD_NAME_MAX + 8];
	memset(name, '.', sizeof(name));
	lone_start();
	for (size_t n = 0; n <= sizeof(name); n++)
		assert_null(backends_choose((struct str){name, n}));
	backends_stop();
	lone_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_one_with_the_least_to_do),
		cmocka_unit_test(names_that_are_too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
