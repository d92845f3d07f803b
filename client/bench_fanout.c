#include "client/bench_parts.h"

#include "core/mem.h"

#include <stdlib.h>

/* Members of rooms; some of them publish. Closed: so many messages are on
 * their way, and one that has reached everybody is followed by the next. Open (--rate): messages begin
 * when they are due, whatever became of those before, and their time counts from then. */

enum { FLIGHTS = 1 << 16 }; /* that may be under way */

struct flight {
	uint32_t number, seq; /* of all; of its publisher */
	unsigned room, publisher, left;
	bool measured;
	uint64_t at; /* when it was, or should have been, sent */
};

struct fanout {
	struct bench *bench;
	struct load *load;
	unsigned rooms, members, publishers, total; /* members and publishers of each room */
	uint32_t *next; /* by member and publisher: the seq that comes next */
	uint32_t *seqs; /* by room and publisher */
	struct flight *flights;
	uint32_t sent, done;
	uint64_t missing; /* deliveries that are to come */
	uint64_t wrong;
	char *payload;
	struct window window;
	struct result result;
};

/* Who publishes: the first members of the room. */
static struct link *publisher(struct fanout *f, unsigned room, unsigned publisher)
{
	return load_link(f->load, publisher * f->rooms + room);
}

static bool publish_one(void *context, uint64_t at, bool measured)
{
	struct fanout *f = context;
	struct flight *flight = &f->flights[f->sent % FLIGHTS];
	unsigned room = f->sent % f->rooms, who = f->sent / f->rooms % f->publishers;
	if (flight->left)
		return false;
	*flight = (struct flight){.number = f->sent,
		.room = room,
		.publisher = who,
		.left = f->members,
		.measured = measured,
		.at = at,
		.seq = f->seqs[room * f->publishers + who]++};
	f->missing += f->members;
	payload_number(f->payload, f->sent++);
	f->bench->dialect->publish(
		publisher(f, room, who), (struct str){f->payload, f->bench->options.bytes});
	return true;
}

/* Each exactly once, in its sender's order, in its own room. */
static size_t delivered(void *context, struct link *l, const char *payload, size_t n)
{
	struct fanout *f = context;
	size_t bytes = f->bench->options.bytes;
	uint32_t number = 0;
	struct flight *flight = NULL;
	if (n >= bytes && payload_read(payload, n, &number))
		flight = &f->flights[number % FLIGHTS];
	if (!flight || flight->number != number || !flight->left ||
		flight->room != l->index % f->rooms) {
		f->wrong++;
		return n < bytes ? n : bytes;
	}
	uint32_t *next = &f->next[l->index * f->publishers + flight->publisher];
	if (*next != flight->seq)
		f->wrong++;
	*next = flight->seq + 1;
	f->missing--;
	if (!--flight->left) {
		f->done++;
		f->result.messages += f->window.open;
	}
	f->result.deliveries += f->window.open;
	f->result.in_all++;
	if (flight->measured)
		histogram_add(&f->result.latency, load_now(f->load) - flight->at);
	return bytes;
}

static bool open_links(struct fanout *f)
{
	struct load_link *how = mem_alloc(f->total * sizeof(*how));
	for (unsigned i = 0; i < f->total; i++)
		how[i] = (struct load_link){.part = PART_MEMBER,
			.batch = !f->bench->options.no_batch,
			.room = i % f->rooms,
			.token = bench_token(f->bench, i)};
	bool fine = load_open_all(f->load, how, f->total, bench_patience(f->bench));
	free(how);
	return fine;
}

/* Closed: keeps so many on their way until the window is over. */
static bool run_closed(struct fanout *f, unsigned outstanding)
{
	do {
		bool measured = window_look(&f->window);
		while (!f->window.over && f->sent - f->done < outstanding &&
			publish_one(f, load_clock(), measured))
			;
		if (f->window.over)
			return true;
	} while (load_turn(f->load, TURN_NS));
	return false;
}

static uint64_t missing(const void *context)
{
	const struct fanout *f = context;
	return f->missing;
}

static bool drain(struct fanout *f)
{
	bool fine = bench_drain(f->bench, f->load, missing, f);
	f->result.lost = f->missing;
	f->missing = 0;
	for (unsigned i = 0; i < FLIGHTS; i++)
		f->flights[i].left = 0;
	f->done = f->sent;
	return fine;
}

static bool run(struct fanout *f, unsigned outstanding)
{
	struct bench *b = f->bench;
	f->result = (struct result){.scenario = SCENARIO_FANOUT,
		.members = f->members,
		.rooms = f->rooms,
		.publishers = f->publishers,
		.outstanding = outstanding,
		.bytes = b->options.bytes,
		.rate = b->options.rate,
		.batch = !b->options.no_batch,
		.tls = load_tls(f->load),
		.connections = load_count(f->load)};
	f->wrong = 0;
	window_plan(&f->window, b);
	bool fine = b->options.rate ? window_pace(&f->window, f->load, &f->result, publish_one, f)
				    : run_closed(f, outstanding);
	if (!fine || !drain(f))
		return bench_failed(b, f->load);
	window_tell(&f->window, &f->result);
	f->result.wrong = f->wrong;
	return bench_report(b, &f->result);
}

static bool run_all(struct fanout *f)
{
	const struct bench_options *o = &f->bench->options;
	bool fine = true;
	if (!open_links(f))
		return bench_failed(f->bench, f->load);
	if (o->rate)
		return run(f, 0);
	for (unsigned i = 0; i < o->outstandings && !load_fault(f->load); i++)
		fine = run(f, o->outstanding[i]) && fine;
	return fine;
}

bool bench_fanout(struct bench *b)
{
	struct fanout *f = mem_new(struct fanout);
	f->bench = b;
	f->rooms = b->options.rooms;
	f->members = b->options.members;
	f->publishers = b->options.publishers;
	f->total = f->rooms * f->members;
	if (f->publishers > f->members)
		f->publishers = f->members;
	f->next = mem_alloc((size_t)f->total * f->publishers * sizeof(*f->next));
	f->seqs = mem_alloc((size_t)f->rooms * f->publishers * sizeof(*f->seqs));
	f->flights = mem_alloc(FLIGHTS * sizeof(*f->flights));
	f->payload = mem_alloc(b->options.bytes + 1);
	memset(f->payload, 'x', b->options.bytes);
	f->load = load_new(&b->options.target, b->dialect,
		&(struct load_events){.delivered = delivered}, f, f->total);
	bool fine = run_all(f);
	load_free(&f->load);
	free(f->next);
	free(f->seqs);
	free(f->flights);
	free(f->payload);
	free(f);
	return fine;
}
