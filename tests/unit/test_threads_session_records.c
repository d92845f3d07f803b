/* Sessions written down by one set of workers and taken in by another, of another number: everything of
 * them is there again, each where it belongs. Damaged records are noticed and harm nobody. */
#include "core/mem.h"
#include "service/quota.h"
#include "service/session_parts.h"
#include "signaling/people.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum {
	SESSIONS = 60,
	WORKERS_MOST = 5,
	ROUNDS = 30,
	DAMAGES = 400,
	KEPT_MOST = 20,
	TEXT_MOST = 2000
};

static const char *const words[] = {
	"", "ann", "a longer text, with a \"quote\" and \xc3\xa4", "team-*"};
enum { WORDS = sizeof(words) / sizeof(*words) };

static unsigned seed = 4711;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* What a session was made of. */
struct model {
	char id[SESSION_HANDLE_MAX];
	struct principal *who;
	struct addr old;
	bool posts, told_expiring;
	uint64_t received, sent, kept;
	char *texts[KEPT_MOST];
};

static struct model models[SESSIONS];
static struct buf records[WORKERS_MOST];
static struct str loaded;
static enum err outcomes[WORKERS_MOST];

static struct str word(void)
{
	return str_of(words[chance(WORDS)]);
}

static void make_model(struct model *m, int i)
{
	struct str globs[3] = {word(), word(), word()};
	struct principal_claim kept[2] = {{STR("team"), word()}, {STR("scope"), word()}};
	struct principal p = {.user = STR("ann"),
		.name = word(),
		.issuer = word(),
		.subject = word(),
		.client = word(),
		.jti = word(),
		.scopes = chance(1u << SCOPE_BITS),
		.rooms_limited = chance(2),
		.datasets_limited = chance(2),
		.room_count = chance(4),
		.dataset_count = chance(4),
		.rooms = globs,
		.datasets = globs,
		.claim_count = chance(3),
		.claims = kept,
		.sid = word(),
		.expires_at = (int64_t)chance(1u << 30) << chance(32),
		.issued_at = (int64_t)chance(1u << 30) << chance(32)};
	m->who = principal_new(&p);
	snprintf(m->id, sizeof(m->id), "%u.%08x%04d", chance(9), chance(1u << 30), i);
	m->posts = chance(2);
	m->told_expiring = chance(2);
	m->received = (uint64_t)chance(1u << 30) << chance(30);
	m->kept = chance(KEPT_MOST);
	m->sent = m->kept + chance(1000);
	for (uint64_t k = 0; k < m->kept; k++) {
		size_t n = chance(TEXT_MOST);
		m->texts[k] = mem_alloc(n + 1);
		memset(m->texts[k], 'a' + (int)chance(26), n);
	}
}

static void free_model(struct model *m)
{
	principal_unref(&m->who);
	for (uint64_t k = 0; k < m->kept; k++)
		free(m->texts[k]);
	*m = (struct model){0};
}

static void keep(struct session *s, const char *text)
{
	struct buf b = frame_buf();
	buf_adds(&b, str_of(text));
	struct frame *f = frame_take(&b);
	kept_add(&s->kept, f, KEPT_MOST, KEPT_MOST * TEXT_MOST);
	frame_unref(&f);
}

static void make_sessions(struct worker *w, void *context)
{
	(void)context;
	for (int i = w->index; i < SESSIONS; i += workers_count()) {
		struct model *m = &models[i];
		struct session *s = session_new(m->who);
		memcpy(s->handle, m->id, sizeof(m->id));
		s->posts = m->posts;
		s->told_expiring = m->told_expiring;
		s->received = m->received;
		s->sent = m->sent;
		s->kept.first = m->sent - m->kept + 1;
		s->lost_at_ms = uv_now(&w->loop) + 20000;
		for (uint64_t k = 0; k < m->kept; k++)
			keep(s, m->texts[k]);
		quota_session_kept(m->who->user);
		session_enter(s);
		m->old = s->caller.endpoint.addr;
	}
}

static void save(struct worker *w, void *context)
{
	(void)context;
	records[w->index] = BUF_INIT(1 << 24);
	assert_int_equal(sessions_save(&records[w->index]), 0);
}

static const struct model *model_of(const char *id)
{
	for (int i = 0; i < SESSIONS; i++)
		if (strcmp(models[i].id, id) == 0)
			return &models[i];
	return NULL;
}

static void assert_globs(const struct str *a, size_t n, const struct str *b, size_t m)
{
	assert_int_equal(n, m);
	for (size_t i = 0; i < n; i++)
		assert_true(str_eq(a[i], b[i]));
}

static void assert_principal(const struct principal *a, const struct principal *b)
{
	assert_true(str_eq(a->user, b->user) && str_eq(a->name, b->name) &&
		str_eq(a->issuer, b->issuer) && str_eq(a->subject, b->subject) &&
		str_eq(a->client, b->client) && str_eq(a->jti, b->jti) && str_eq(a->sid, b->sid));
	assert_int_equal(a->scopes, b->scopes);
	assert_true(a->expires_at == b->expires_at && a->issued_at == b->issued_at);
	assert_int_equal(a->rooms_limited, b->rooms_limited);
	assert_int_equal(a->datasets_limited, b->datasets_limited);
	assert_globs(a->rooms, a->room_count, b->rooms, b->room_count);
	assert_globs(a->datasets, a->dataset_count, b->datasets, b->dataset_count);
	assert_int_equal(a->claim_count, b->claim_count);
	for (size_t i = 0; i < a->claim_count; i++)
		assert_true(str_eq(a->claims[i].name, b->claims[i].name) &&
			str_eq(a->claims[i].json, b->claims[i].json));
}

static void assert_session(const struct session *s, const struct session_moved *moved)
{
	const struct model *m = model_of(s->handle);
	assert_non_null(m);
	assert_ptr_equal(session_home(s->handle), worker_self());
	assert_true(addr_eq(moved->old, m->old) && addr_eq(moved->now, s->caller.endpoint.addr));
	assert_principal(s->caller.who, m->who);
	assert_true(s->posts == m->posts && s->told_expiring == m->told_expiring);
	assert_true(s->received == m->received && s->sent == m->sent && s->kept.count == m->kept);
	assert_true(kept_reaches(&s->kept, s->sent, m->sent - m->kept));
	assert_false(m->sent > m->kept && kept_reaches(&s->kept, s->sent, m->sent - m->kept - 1));
	for (uint32_t k = 0; k < s->kept.count; k++)
		assert_true(str_is(frame_str(kept_at(&s->kept, k)), m->texts[k]));
}

static void load_and_compare(struct worker *w, void *context)
{
	int *total = context;
	struct session_moved *list = NULL;
	size_t count = 0, seen = 0;
	assert_int_equal(sessions_load(loaded, &list, &count), ERR_OK);
	for (struct session *s = sessions_first(); s; s = s->next, seen++) {
		size_t at = 0;
		while (at < count && !addr_eq(list[at].now, s->caller.endpoint.addr))
			at++;
		assert_true(at < count);
		assert_session(s, &list[at]);
	}
	assert_int_equal(seen, count);
	total[w->index] = (int)count;
	free(list);
}

static void load_damaged(struct worker *w, void *context)
{
	(void)context;
	struct session_moved *list = NULL;
	size_t count = 0;
	outcomes[w->index] = sessions_load(loaded, &list, &count);
	for (struct session *s = sessions_first(); s; s = s->next)
		assert_true(s->kept.count <= s->sent && s->kept.bytes <= KEPT_MOST * TEXT_MOST);
	free(list);
}

static void start(int workers)
{
	static const struct worker_part *const parts[] = {&people_part, &session_part, NULL};
	session_configure(&(struct session_options){.kept_messages = KEPT_MOST,
		.kept_bytes = KEPT_MOST * TEXT_MOST,
		.resume_window_ms = 30000});
	quota_configure(&(struct quota_limits){0});
	struct workers_options options = {.count = workers, .calls_max = 16, .parts = parts};
	assert_int_equal(workers_start(&options), ERR_OK);
}

static void stop(void)
{
	workers_stop();
	quota_finish();
}

/* The records of SESSIONS new models, as one text that the caller frees. */
static struct buf make_records(void)
{
	struct buf all = BUF_INIT(1 << 26);
	for (int i = 0; i < SESSIONS; i++)
		make_model(&models[i], i);
	int workers = 1 + (int)chance(WORKERS_MOST);
	start(workers);
	workers_each(make_sessions, NULL);
	workers_each(save, NULL);
	for (int i = 0; i < workers; i++) {
		buf_adds(&all, buf_str(&records[i]));
		buf_free(&records[i]);
	}
	stop();
	return all;
}

static void sessions_are_there_again(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct buf all = make_records();
		int workers = 1 + (int)chance(WORKERS_MOST), total[WORKERS_MOST] = {0}, sum = 0;
		loaded = buf_str(&all);
		start(workers);
		workers_each(load_and_compare, total);
		stop();
		for (int i = 0; i < workers; i++)
			sum += total[i];
		assert_int_equal(sum, SESSIONS);
		buf_free(&all);
		for (int i = 0; i < SESSIONS; i++)
			free_model(&models[i]);
	}
}

static void damage(struct buf *b)
{
	size_t at = chance((unsigned)b->n);
	switch (chance(3)) {
	case 0:
		b->p[at] = (char)chance(256);
		break;
	case 1:
		b->n = at;
		break;
	default:
		memmove(b->p + at, b->p + at + 1, b->n - at - 1);
		b->n--;
	}
}

static void damaged_records_harm_nobody(void **state)
{
	(void)state;
	struct buf all = make_records();
	int noticed = 0;
	for (int round = 0; round < DAMAGES; round++) {
		struct buf copy = BUF_INIT(1 << 26);
		buf_adds(&copy, buf_str(&all));
		damage(&copy);
		loaded = (struct str){mem_alloc(copy.n + 1), copy.n}; /* exactly so large */
		memcpy((char *)(uintptr_t)loaded.p, copy.p, copy.n);
		start(2);
		workers_each(load_damaged, NULL);
		stop();
		noticed += outcomes[0] == ERR_PARSE || outcomes[1] == ERR_PARSE;
		free((char *)(uintptr_t)loaded.p);
		buf_free(&copy);
	}
	assert_true(noticed > DAMAGES / 3);
	buf_free(&all);
	for (int i = 0; i < SESSIONS; i++)
		free_model(&models[i]);
}

static void save_some(struct worker *w, void *context)
{
	size_t *left_out = context;
	sessions_first()->caller.in_flight = 1;
	records[w->index] = BUF_INIT(1 << 24);
	left_out[0] = sessions_save(&records[w->index]);
	struct buf small = BUF_INIT(records[w->index].n / 2);
	left_out[1] = sessions_save(&small);
	assert_int_equal(small.err, ERR_OK);
	buf_free(&small);
	sessions_first()->caller.in_flight = 0;
}

static void who_waits_for_an_answer_or_does_not_fit_is_left_out(void **state)
{
	(void)state;
	size_t left_out[2] = {0};
	for (int i = 0; i < SESSIONS; i++)
		make_model(&models[i], i);
	start(1);
	workers_each(make_sessions, NULL);
	workers_each(save_some, left_out);
	stop();
	buf_free(&records[0]);
	assert_int_equal(left_out[0], 1);
	assert_in_range(left_out[1], 2, SESSIONS - 2);
	for (int i = 0; i < SESSIONS; i++)
		free_model(&models[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_are_there_again),
		cmocka_unit_test(damaged_records_harm_nobody),
		cmocka_unit_test(who_waits_for_an_answer_or_does_not_fit_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
