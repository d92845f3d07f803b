#include "signaling/line.h"

#include "core/mem.h"
#include "signaling/options.h"

enum { MINUTE_MS = 60000 };

struct placed_call {
	struct placed_call *next;
	bool answered;
	char id[CALL_ID_CHARS + 1];
	size_t n;
	char callee[];
};

static _Thread_local struct map lines;
static _Thread_local uv_timer_t sweep;

static struct bucket_size size(void)
{
	return (struct bucket_size){.tokens = options()->calls_per_minute,
		.period_ms = MINUTE_MS,
		.burst = options()->calls_per_minute};
}

struct line *line_find(struct str user)
{
	return map_get(&lines, user);
}

struct line *line_find_or_make(struct str user)
{
	struct line *l = line_find(user);
	if (!l) {
		l = mem_new(struct line);
		l->user = (struct str){mem_copy(user), user.n};
		map_put(&lines, l->user, l);
	}
	return l;
}

static void free_line(struct line *l)
{
	map_remove(&lines, l->user);
	free((char *)(uintptr_t)l->user.p);
	free(l);
}

void line_settle(struct line *l)
{
	if (!l->placed && !l->rung && bucket_full(&l->pace, size(), (int64_t)worker_now_ms()))
		free_line(l);
}

enum err line_may_place(const struct line *l, int64_t *ret_wait_ms)
{
	int64_t wait = bucket_wait(&l->pace, size(), (int64_t)worker_now_ms(), 1);
	if (l->ringing >= LINE_RINGING_MAX || l->placed_count >= LINE_CALLS_MAX)
		return ERR_FULL;
	if (!wait)
		return ERR_OK;
	*ret_wait_ms = wait;
	return ERR_RATE_LIMITED;
}

void line_count(struct line *l)
{
	bucket_take(&l->pace, size(), (int64_t)worker_now_ms(), 1);
}

void line_place(struct line *l, const char *id, struct str callee)
{
	struct placed_call *p = mem_alloc(sizeof(*p) + callee.n);
	memcpy(p->id, id, sizeof(p->id));
	p->n = callee.n;
	memcpy(p->callee, callee.p, callee.n);
	p->next = l->placed;
	l->placed = p;
	l->placed_count++;
	l->ringing++;
}

void line_answered(struct str user, const char *id)
{
	struct line *l = line_find(user);
	for (struct placed_call *p = l ? l->placed : NULL; p; p = p->next)
		if (!p->answered && !strcmp(p->id, id)) {
			p->answered = true;
			l->ringing--;
		}
}

static void remove_placed(struct line *l, struct placed_call **at)
{
	struct placed_call *p = *at;
	*at = p->next;
	l->placed_count--;
	l->ringing -= !p->answered;
	free(p);
}

void line_over(struct str user, const char *id)
{
	struct line *l = line_find(user);
	struct placed_call **at = l ? &l->placed : NULL;
	while (at && *at && strcmp((*at)->id, id))
		at = &(*at)->next;
	if (!at || !*at)
		return;
	remove_placed(l, at);
	line_settle(l);
}

bool line_rings_before(const struct line *l, struct str callee, const char *id)
{
	for (const struct placed_call *p = l ? l->placed : NULL; p; p = p->next)
		if (!p->answered && str_eq((struct str){p->callee, p->n}, callee) &&
			strcmp(p->id, id) < 0)
			return true;
	return false;
}

bool line_talks(const struct line *l)
{
	return l->placed_count > l->ringing;
}

/* Lines that are there only because their user has rung others lately. */
static void on_sweep(uv_timer_t *timer)
{
	(void)timer;
	struct line *l, *idle = NULL;
	for (size_t i = 0; (l = map_next(&lines, &i));)
		if (!l->placed && !l->rung &&
			bucket_full(&l->pace, size(), (int64_t)worker_now_ms())) {
			l->next_idle = idle;
			idle = l;
		}
	while ((l = idle)) {
		idle = l->next_idle;
		free_line(l);
	}
}

void lines_start(struct worker *w)
{
	uv_timer_init(&w->loop, &sweep);
	uv_timer_start(&sweep, on_sweep, MINUTE_MS, MINUTE_MS);
}

void lines_stop(void)
{
	struct line *l;
	uv_close((uv_handle_t *)&sweep, NULL);
	for (size_t i = 0; (l = map_next(&lines, &i));) {
		while (l->placed)
			remove_placed(l, &l->placed);
		free((char *)(uintptr_t)l->user.p);
		free(l);
	}
	free(lines.slots);
	lines = (struct map){0};
}
