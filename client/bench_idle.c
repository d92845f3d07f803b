#include "client/bench_parts.h"

#include "client/process.h"
#include "core/clock.h"
#include "core/mem.h"

#include <stdlib.h>

/* idle: many connections, each in a room, and what the server's memory comes to. join: all go into their rooms
 * at once, and how long it takes until each knows of all others there. */

struct quiet {
	struct bench *bench;
	struct load *load;
	unsigned total, per_room, rooms;
	uint64_t *known; /* join: a bit for each member of its room, by link */
	size_t words;    /* of a link */
	uint64_t knowing, wrong;
	struct result result;
};

static void knows(void *context, struct link *l, unsigned index)
{
	struct quiet *q = context;
	if (index >= q->total || index / q->per_room != l->index / q->per_room) {
		q->wrong++;
		return;
	}
	unsigned at = index % q->per_room;
	uint64_t *word = &q->known[l->index * q->words + at / 64], bit = (uint64_t)1 << at % 64;
	q->knowing += !(*word & bit);
	*word |= bit;
}

/* What an application says by mistake to one that waits; nothing is published here. */
static size_t delivered(void *context, struct link *l, const char *payload, size_t n)
{
	struct quiet *q = context;
	(void)l, (void)payload;
	q->wrong++;
	return n;
}

static bool open_links(struct quiet *q, bool counts)
{
	struct load_link *how = mem_alloc(q->total * sizeof(*how));
	for (unsigned i = 0; i < q->total; i++)
		how[i] = (struct load_link){.part = PART_MEMBER,
			.batch = !q->bench->options.no_batch,
			.counts = counts,
			.room = i / q->per_room,
			.token = bench_token(q->bench, i)};
	bool fine = load_open_all(q->load, how, q->total, bench_patience(q->bench));
	free(how);
	return fine;
}

/* How many others each can know of, itself included, over all. */
static uint64_t all_there_is(const struct quiet *q)
{
	unsigned whole = q->total / q->per_room, rest = q->total % q->per_room;
	return (uint64_t)whole * q->per_room * q->per_room + (uint64_t)rest * rest;
}

static bool run_idle(struct quiet *q)
{
	const struct bench_options *o = &q->bench->options;
	uint64_t began = load_clock();
	q->result.rss_before = process_memory(o->pid);
	if (!open_links(q, false))
		return false;
	q->result.all_joined_s = (double)(load_clock() - began) / SECOND_NS;
	q->result.rss_joined = process_memory(o->pid);
	uint64_t cpu = process_cpu(o->pid), held = load_clock(),
		 until = held + (uint64_t)(o->hold * SECOND_NS);
	while (load_clock() < until)
		if (!load_turn(q->load, window_wait(until)))
			return false;
	q->result.rss_held = process_memory(o->pid);
	q->result.cpu_ns = process_cpu(o->pid) - cpu;
	q->result.seconds = (double)(load_clock() - held) / SECOND_NS;
	return true;
}

static bool run_join(struct quiet *q)
{
	int pid = q->bench->options.pid, patience = bench_patience(q->bench);
	if (!open_links(q, true))
		return false;
	int64_t until = clock_steady_ms() + patience;
	uint64_t cpu = process_cpu(pid), began = load_clock(), before = 0, all = all_there_is(q);
	for (unsigned i = 0; i < q->total; i++)
		q->bench->dialect->join(load_link(q->load, i));
	while (q->knowing < all && clock_steady_ms() < until) {
		if (!load_turn(q->load, TURN_NS))
			return false;
		if (q->knowing != before)
			until = clock_steady_ms() + patience;
		before = q->knowing;
	}
	q->result.all_joined_s = q->result.seconds = (double)(load_clock() - began) / SECOND_NS;
	q->result.cpu_ns = process_cpu(pid) - cpu;
	q->result.messages = q->total;
	q->result.lost = all - q->knowing;
	return true;
}

static bool bench_quiet(struct bench *b, enum scenario scenario)
{
	struct quiet *q = mem_new(struct quiet);
	bool join = scenario == SCENARIO_JOIN;
	q->bench = b;
	q->per_room = b->options.members;
	q->total = join ? b->options.members * b->options.rooms : b->options.connections;
	q->words = (q->per_room + 63) / 64;
	if (join)
		q->known = mem_alloc(q->total * q->words * sizeof(*q->known));
	q->result = (struct result){.scenario = scenario,
		.connections = q->total,
		.members = q->per_room,
		.rooms = (q->total + q->per_room - 1) / q->per_room,
		.batch = !b->options.no_batch};
	q->load = load_new(&b->options.target, b->dialect,
		&(struct load_events){.delivered = delivered, .knows = knows}, q, q->total);
	q->result.tls = load_tls(q->load);
	bool fine = join ? run_join(q) : run_idle(q);
	q->result.wrong = q->wrong;
	fine = fine ? bench_report(b, &q->result) : bench_failed(b, q->load);
	load_free(&q->load);
	free(q->known);
	free(q);
	return fine;
}

bool bench_idle(struct bench *b)
{
	return bench_quiet(b, SCENARIO_IDLE);
}

bool bench_join(struct bench *b)
{
	return bench_quiet(b, SCENARIO_JOIN);
}
