#include "client/bench_parts.h"

#include "core/clock.h"
#include "core/mem.h"

#include <stdlib.h>

/* Connections that begin and, once the server has said 101, are over: so many at a time. */

struct shakes {
	struct bench *bench;
	struct load *load;
	uint64_t *began; /* by link */
	uint64_t opened, greeted;
	uint64_t greeted_before; /* when it was looked last, */
	int64_t until;           /* and how long that may stay so */
	struct window window;
	struct result result;
};

static void open_one(struct shakes *s)
{
	struct load_link how = {
		.part = PART_GUEST, .token = bench_token(s->bench, (unsigned)s->opened++)};
	uint64_t now = load_clock();
	struct link *l = load_open(s->load, &how);
	if (l)
		s->began[l->index] = now;
}

static void greeted(void *context, struct link *l)
{
	struct shakes *s = context;
	s->greeted++;
	if (!s->window.open)
		return;
	s->result.handshakes++;
	s->result.resumed += load_resumed(l);
	histogram_add(&s->result.latency, load_now(s->load) - s->began[l->index]);
}

/* Also ends when nobody is answered any more. */
static bool turn(struct shakes *s)
{
	int patience = bench_patience(s->bench);
	if (!load_turn(s->load, TURN_NS))
		return false;
	int64_t now = clock_steady_ms();
	if (s->greeted != s->greeted_before || !s->until)
		s->until = now + patience;
	else if (now > s->until)
		load_fail(s->load,
			"for %g s no handshake has come to its end: the server does not answer",
			patience / 1000.0);
	s->greeted_before = s->greeted;
	return !load_fault(s->load);
}

static bool run(struct shakes *s, unsigned outstanding)
{
	struct bench *b = s->bench;
	uint64_t before = s->opened;
	s->result = (struct result){.scenario = SCENARIO_HANDSHAKE,
		.outstanding = outstanding,
		.tls = load_tls(s->load)};
	window_plan(&s->window, b);
	while (!s->window.over) {
		window_look(&s->window);
		while (load_open_count(s->load) < outstanding && !load_fault(s->load))
			open_one(s);
		if (!turn(s))
			return bench_failed(b, s->load);
	}
	window_tell(&s->window, &s->result);
	s->result.in_all = s->opened - before;
	while (load_open_count(s->load))
		if (!turn(s))
			return bench_failed(b, s->load);
	return bench_report(b, &s->result);
}

bool bench_handshake(struct bench *b)
{
	unsigned most = 0;
	bool fine = true;
	const struct bench_options *o = &b->options;
	for (unsigned i = 0; i < o->outstandings; i++)
		if (o->outstanding[i] > most)
			most = o->outstanding[i];
	struct shakes *s = mem_new(struct shakes);
	s->bench = b;
	s->began = mem_alloc(most * sizeof(*s->began));
	s->load = load_new(
		&o->target, b->dialect, &(struct load_events){.greeted = greeted}, s, most);
	for (unsigned i = 0; fine && i < o->outstandings; i++)
		fine = run(s, o->outstanding[i]);
	load_free(&s->load);
	free(s->began);
	free(s);
	return fine;
}
