#include "store/fault.h"
#include "store/driver.h"

#include "core/log.h"
#include "core/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { FAULTS_MAX = 32, NUMBER_MAX = 1000000 };

enum { ON_ANY = -1, ON_BEGIN = -2, ON_COMMIT = -3 }; /* beside enum store_verb */

struct fault {
	int target;
	unsigned nth;     /* 0: every time */
	enum err err;     /* ERR_OK: it does not fail by itself */
	bool fail_commit; /* but its group does */
	unsigned delay_ms;
	atomic_uint seen; /* by both threads of the store */
};

struct store_db {
	struct store_db *inner;
	bool writing;
	bool doomed; /* the commit of this group will fail */
	bool struck; /* the last failure was planned, not the inner driver's */
};

static const struct store_driver *inner_driver;
static struct fault faults[FAULTS_MAX];
static size_t fault_count;

/* ---- reading a plan ---- */

/* Cuts off what stands before the separator, or all. */
static struct str cut(struct str *rest, char separator)
{
	const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
	struct str part = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
	size_t used = part.n + (end ? 1 : 0);
	*rest = (struct str){rest->p + used, rest->n - used};
	return part;
}

static bool parse_number(struct str s, unsigned *ret_n)
{
	unsigned n = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || n > NUMBER_MAX)
			return false;
		n = 10 * n + (unsigned)(s.p[i] - '0');
	}
	if (s.n)
		*ret_n = n;
	return s.n > 0;
}

static bool parse_target(struct str s, int *ret_target)
{
	static const struct {
		const char *word;
		int target;
	} words[] = {{"any", ON_ANY}, {"begin", ON_BEGIN}, {"commit", ON_COMMIT}};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_is(s, words[i].word)) {
			*ret_target = words[i].target;
			return true;
		}
	for (int verb = 0; verb < STORE_VERBS; verb++)
		if (str_is(s, store_verbs[verb].name)) {
			*ret_target = verb;
			return true;
		}
	return false;
}

static bool parse_nth(struct str s, unsigned *ret_nth)
{
	if (str_is(s, "*")) {
		*ret_nth = 0;
		return true;
	}
	return parse_number(s, ret_nth) && *ret_nth > 0;
}

static bool parse_what(struct str s, struct fault *f)
{
	static const enum err errors[] = {
		ERR_INTERNAL, ERR_CONFLICT, ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_OVERLOADED};
	struct str word = cut(&s, '=');
	if (str_is(word, "delay"))
		return parse_number(s, &f->delay_ms);
	if (s.n)
		return false;
	f->fail_commit = str_is(word, "commit") && f->target >= ON_ANY;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (str_is(word, err_info(errors[i])->reason))
			f->err = errors[i];
	return f->err || f->fail_commit;
}

static bool parse_fault(struct str s, struct fault *f)
{
	*f = (struct fault){0};
	struct str target = cut(&s, ':'), nth = cut(&s, ':');
	return parse_target(target, &f->target) && parse_nth(nth, &f->nth) && parse_what(s, f);
}

/* ---- following it ---- */

static bool matches(const struct fault *f, int target)
{
	return f->target == target || (f->target == ON_ANY && target >= 0);
}

/* What is to happen now; waits if that is part of it. */
static enum err strike(struct store_db *db, int target)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < fault_count; i++) {
		struct fault *f = &faults[i];
		if (!matches(f, target))
			continue;
		unsigned n = atomic_fetch_add(&f->seen, 1) + 1;
		if (f->nth && f->nth != n)
			continue;
		struct timespec delay = {f->delay_ms / 1000, f->delay_ms % 1000 * 1000000L};
		if (f->delay_ms)
			nanosleep(&delay, NULL);
		db->doomed |= f->fail_commit;
		if (f->err)
			err = f->err;
	}
	db->struck = err;
	return err;
}

static enum err fault_open(
	const char *place, bool for_writing, struct store_db **ret_db, char *ret_why)
{
	struct store_db *db = mem_new(struct store_db);
	db->writing = for_writing;
	enum err err = inner_driver->open(place, for_writing, &db->inner, ret_why);
	if (err)
		free(db);
	else
		*ret_db = db;
	return err;
}

static void fault_close(struct store_db **db)
{
	inner_driver->close(&(*db)->inner);
	free(*db);
	*db = NULL;
}

static enum err fault_begin(struct store_db *db)
{
	db->doomed = false;
	if (db->writing && strike(db, ON_BEGIN))
		return ERR_OVERLOADED;
	return inner_driver->begin(db->inner);
}

static enum err fault_commit(struct store_db *db)
{
	if (strike(db, ON_COMMIT) || db->doomed) {
		db->struck = true;
		inner_driver->rollback(db->inner);
		return ERR_OVERLOADED;
	}
	return inner_driver->commit(db->inner);
}

static void fault_rollback(struct store_db *db)
{
	inner_driver->rollback(db->inner);
}

static enum err fault_run(struct store_db *db, struct store_op *op)
{
	enum err err = ERR_OK;
	for (const struct store_op *part = op; part && !err; part = part->also)
		err = strike(db, (int)part->verb);
	return err ? err : inner_driver->run(db->inner, op);
}

static const struct store_trouble *fault_trouble(struct store_db *db, char *ret_detail)
{
	static const struct store_trouble planned = {
		"it fails as planned", "SIGNALBOX_STORE_FAULT holds the plan"};
	return db->struck ? &planned : inner_driver->trouble(db->inner, ret_detail);
}

static const struct store_driver fault_driver = {
	.name = "fault",
	.open = fault_open,
	.close = fault_close,
	.begin = fault_begin,
	.commit = fault_commit,
	.rollback = fault_rollback,
	.run = fault_run,
	.trouble = fault_trouble,
};

const struct store_driver *store_fault(
	const struct store_driver *inner, const char *plan, char *ret_why)
{
	struct str rest = str_of(plan);
	inner_driver = inner;
	fault_count = 0;
	do {
		struct str item = cut(&rest, ',');
		if (fault_count == FAULTS_MAX || !parse_fault(item, &faults[fault_count])) {
			snprintf(ret_why, STORE_WHY_MAX,
				"the store's plan of faults has '" STR_FMT "', which is not "
				"VERB|any|begin|commit:NUMBER|*:ERROR|commit|delay=MS",
				STR_ARG(item));
			return NULL;
		}
		fault_count++;
	} while (rest.n);
	return &fault_driver;
}

const struct store_driver *store_fault_from_environment(
	const struct store_driver *inner, char *ret_why)
{
	const char *plan = getenv("SIGNALBOX_STORE_FAULT");
	if (!plan || !*plan)
		return inner;
	log_warn("the store will fail as planned", LOG_TEXT("SIGNALBOX_STORE_FAULT", plan));
	return store_fault(inner, plan, ret_why);
}

unsigned store_fault_seen(size_t entry)
{
	return entry < fault_count ? atomic_load(&faults[entry].seen) : 0;
}
