#include "client/bench_parts.h"

#include "core/mem.h"

#include <stdlib.h>

/* Pairs that set up a call again and again: an offer, the answer, ten candidates by turns, one message of
 * a pair at a time. Closed: each is followed by the next at once. Open (--rate): by the pair whose turn it is, when
 * the next one is due. */

enum { CANDIDATES = 10, EXCHANGE = 2 + CANDIDATES, CANDIDATE_BYTES = 150, PAIR_SHIFT = 16 };

struct pair {
	struct link *caller, *callee;
	uint64_t at;
	uint16_t seq; /* of the newest message, in the number that it bears */
	unsigned step;
	bool under_way, measured;
};

struct signals {
	struct bench *bench;
	struct load *load;
	unsigned count;
	struct pair *pairs;
	unsigned *idle, first_idle, idles; /* a ring */
	uint64_t under_way, wrong;
	bool stopped;
	char *payload;
	struct window window;
	struct result result;
};

static struct link *sender_of(const struct pair *p)
{
	return p->step % 2 ? p->callee : p->caller;
}

static unsigned size_of(const struct signals *s, unsigned step)
{
	if (step > 1)
		return CANDIDATE_BYTES;
	unsigned bytes = s->bench->options.bytes / (step + 1);
	return bytes < PAYLOAD_MIN ? PAYLOAD_MIN : bytes;
}

static void send_next(struct signals *s, unsigned index, uint64_t at, bool measured)
{
	struct pair *p = &s->pairs[index];
	enum signal_kind kind = SIGNAL_CANDIDATE;
	if (p->step < 2)
		kind = p->step ? SIGNAL_ANSWER : SIGNAL_OFFER;
	p->at = at;
	p->measured = measured;
	p->under_way = true;
	s->under_way++;
	payload_number(s->payload, index << PAIR_SHIFT | ++p->seq);
	s->bench->dialect->signal(
		sender_of(p), kind, (struct str){s->payload, size_of(s, p->step)});
}

static size_t delivered(void *context, struct link *l, const char *payload, size_t n)
{
	struct signals *s = context;
	uint32_t number;
	struct pair *p = NULL;
	if (payload_read(payload, n, &number) && number >> PAIR_SHIFT < s->count)
		p = &s->pairs[number >> PAIR_SHIFT];
	if (!p || !p->under_way || p->seq != (uint16_t)number || sender_of(p)->other != l ||
		n < size_of(s, p->step)) {
		s->wrong++;
		return 1;
	}
	unsigned bytes = size_of(s, p->step), index = number >> PAIR_SHIFT;
	p->under_way = false;
	p->step = (p->step + 1) % EXCHANGE;
	s->under_way--;
	s->result.deliveries += s->window.open;
	s->result.in_all++;
	if (p->measured)
		histogram_add(&s->result.latency, load_now(s->load) - p->at);
	if (s->bench->options.rate)
		s->idle[(s->first_idle + s->idles++) % s->count] = index;
	else if (!s->stopped)
		send_next(s, index, load_now(s->load), s->window.open);
	return bytes;
}

static bool open_links(struct signals *s)
{
	struct load_link *how = mem_alloc(2 * s->count * sizeof(*how));
	for (unsigned i = 0; i < 2 * s->count; i++)
		how[i] = (struct load_link){.part = i % 2 ? PART_CALLEE : PART_CALLER,
			.batch = !s->bench->options.no_batch,
			.room = i / 2,
			.token = bench_token(s->bench, i)};
	bool fine = load_open_all(s->load, how, 2 * s->count, bench_patience(s->bench));
	free(how);
	for (unsigned i = 0; fine && i < s->count; i++) {
		s->pairs[i] = (struct pair){.caller = load_link(s->load, 2 * i),
			.callee = load_link(s->load, 2 * i + 1)};
		load_pair(s->pairs[i].caller, s->pairs[i].callee);
	}
	return fine;
}

static bool run_closed(struct signals *s)
{
	for (unsigned i = 0; i < s->count; i++)
		send_next(s, i, load_clock(), false);
	do
		window_look(&s->window);
	while (!s->window.over && load_turn(s->load, TURN_NS));
	s->stopped = true;
	return s->window.over;
}

/* By the pair that has been at rest for longest. */
static bool send_due(void *context, uint64_t due, bool measured)
{
	struct signals *s = context;
	if (!s->idles)
		return false;
	unsigned next = s->idle[s->first_idle];
	s->first_idle = (s->first_idle + 1) % s->count;
	s->idles--;
	send_next(s, next, due, measured);
	return true;
}

static bool run_open(struct signals *s)
{
	for (s->idles = 0; s->idles < s->count; s->idles++)
		s->idle[s->idles] = s->idles;
	return window_pace(&s->window, s->load, &s->result, send_due, s);
}

static uint64_t missing(const void *context)
{
	const struct signals *s = context;
	return s->under_way;
}

static bool run(struct signals *s)
{
	struct bench *b = s->bench;
	s->result = (struct result){.scenario = SCENARIO_SIGNAL,
		.pairs = s->count,
		.bytes = b->options.bytes,
		.rate = b->options.rate,
		.batch = !b->options.no_batch,
		.tls = load_tls(s->load),
		.connections = load_count(s->load)};
	if (!open_links(s))
		return bench_failed(b, s->load);
	window_plan(&s->window, b);
	bool fine = b->options.rate ? run_open(s) : run_closed(s);
	if (!fine || !bench_drain(b, s->load, missing, s))
		return bench_failed(b, s->load);
	window_tell(&s->window, &s->result);
	s->result.messages = s->result.deliveries;
	s->result.lost = s->under_way;
	s->result.wrong = s->wrong;
	return bench_report(b, &s->result);
}

bool bench_signal(struct bench *b)
{
	struct signals *s = mem_new(struct signals);
	unsigned room = b->options.bytes > CANDIDATE_BYTES ? b->options.bytes : CANDIDATE_BYTES;
	s->bench = b;
	s->count = b->options.pairs;
	s->pairs = mem_alloc(s->count * sizeof(*s->pairs));
	s->idle = mem_alloc(s->count * sizeof(*s->idle));
	s->payload = mem_alloc(room + 1);
	memset(s->payload, 'x', room);
	s->load = load_new(&b->options.target, b->dialect,
		&(struct load_events){.delivered = delivered}, s, 2 * s->count);
	bool fine = run(s);
	load_free(&s->load);
	free(s->pairs);
	free(s->idle);
	free(s->payload);
	free(s);
	return fine;
}
