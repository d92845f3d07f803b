#include "service/disabled.h"

#include "auth/server/server.h"
#include "core/map.h"
#include "core/mem.h"
#include "service/directory.h"
#include "store/store.h"

#include <time.h>

enum { PAGE = 1000, DAY = 24 * 3600 };

struct account {
	struct account *next;
	size_t n;
	char name[]; /* the map's key */
};

/* What was loaded: written before the workers start, read by all of them. */
static struct str *loaded;
static size_t loaded_count;

static _Thread_local struct map accounts;
static _Thread_local struct account *all;

/* ---- before the workers ---- */

static void keep(const struct store_op *op)
{
	loaded = mem_resize(loaded, loaded_count + op->rows, sizeof(*loaded));
	for (size_t i = 0; i < op->rows; i++) {
		struct str name = store_str(op, i, 0);
		loaded[loaded_count++] = (struct str){mem_copy(name), name.n};
	}
}

enum err disabled_load(struct buf *why)
{
	int64_t since = (int64_t)time(NULL) - EXPIRES_MAX - DAY;
	for (bool more = true; more;) {
		struct str last = loaded_count ? loaded[loaded_count - 1] : STR("");
		struct store_op *op = store_ask_now(STORE_USER_DISABLED, STORE_INT(since),
			STORE_TEXT(last), STORE_INT(PAGE), STORE_END);
		enum err err = op->err;
		more = !err && op->rows == PAGE;
		if (!err && op->rows)
			keep(op);
		store_op_free(&op);
		if (!err)
			continue;
		buf_addf(why, "the store does not say which accounts are disabled\n");
		return err;
	}
	return ERR_OK;
}

void disabled_finish(void)
{
	while (loaded_count)
		free((void *)(uintptr_t)loaded[--loaded_count].p);
	free(loaded);
	loaded = NULL;
}

/* ---- on a worker ---- */

static void add(struct str user)
{
	if (disabled_has(user))
		return;
	struct account *a = mem_alloc(sizeof(*a) + user.n);
	*a = (struct account){.next = all, .n = user.n};
	memcpy(a->name, user.p, user.n);
	all = a;
	map_put(&accounts, (struct str){a->name, a->n}, a);
}

bool disabled_has(struct str user)
{
	return map_get(&accounts, user);
}

struct notice {
	struct post post;
	size_t n;
	char user[];
};

/* The order to end the sessions comes from here, from each worker: a session that this worker let in
 * before has entered itself in the directory before, and so is found. */
static void run_notice(struct post *p)
{
	struct notice *notice = (struct notice *)p;
	struct str user = {notice->user, notice->n};
	add(user);
	directory_end(user, 4501, "the account is disabled");
	free(notice);
}

void disabled_add(struct str user)
{
	add(user); /* here at once: before the operator has an answer */
	for (int i = 0; i < workers_count(); i++) {
		struct notice *notice = mem_alloc(sizeof(*notice) + user.n);
		*notice = (struct notice){.post = {.run = run_notice}, .n = user.n};
		memcpy(notice->user, user.p, user.n);
		worker_post(worker_at(i), &notice->post);
	}
}

/* ---- the worker's part ---- */

static enum err start(struct worker *w)
{
	(void)w;
	for (size_t i = 0; i < loaded_count; i++)
		add(loaded[i]);
	return ERR_OK;
}

static void stop(struct worker *w)
{
	(void)w;
	for (struct account *a; (a = all);) {
		all = a->next;
		map_remove(&accounts, (struct str){a->name, a->n});
		free(a);
	}
	map_free(&accounts);
}

const struct worker_part disabled_part = {.name = "disabled", .start = start, .stop = stop};
