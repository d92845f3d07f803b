/* feed_parts.h: what the feed of a dataset is made of, for feed.c, flow.c, reader.c, outlet.c and feed_records.c;
 * everybody else knows feed.h.
 *
 *   feed     one dataset at its home
 *   flow     one shape of it, with all who read it
 *   reader   one session in a flow: where it stands, what it may be sent
 *   outlet   one session, with all its readers here: how much is on its way to it
 *
 * Thread: the dataset's home. */
#pragma once

#include "core/alarm.h"
#include "core/call.h"
#include "core/map.h"
#include "core/pool.h"
#include "dataset/database.h"

enum {
	CREDIT_TO_BEGIN = 64,
	/* who is no farther behind may join: that costs the database's thread */
	JOIN_CHANGES_MAX = 1000,
	RETRY_MS = 100,     /* a step that could not be taken */
	GIVE_UP_MS = 10000, /* when none can for so long */
};

/* ---- outlet.c ---- */

struct reader;

struct outlet {
	struct addr addr;
	char key[ADDR_KEY_BYTES];
	struct principal *who;
	struct reader *readers; /* linked by next_of_outlet */
	bool away, noted;
	/* on their way, by what its client has acknowledged; of those, how many the question that is
	 * under way is about */
	size_t messages, bytes, asked_messages, asked_bytes;
	bool asked;
};

void outlets_configure(size_t kept_messages, size_t kept_bytes);
struct outlet *outlet_find(struct addr addr);
struct outlet *outlet_for(struct addr addr, const struct principal *who); /* found, or made */
void outlet_gone(struct outlet *o); /* with its readers, without a word */
void outlets_stop(void);
/* Whether so much may be sent now, at once. A single message may be as long as it is. */
bool outlet_takes(const struct outlet *o, size_t messages, size_t bytes);
/* Behind what was sent. When its client has got enough of it, and it is open again, its readers go on. */
void outlet_sent(struct outlet *o, size_t messages, size_t bytes);
void outlet_connected(struct addr addr, bool yes);

/* ---- feed.c ---- */

struct flow;
struct wanted;

struct feed {
	struct str name; /* own copy */
	enum { FEED_STARTING, FEED_LIVE, FEED_TROUBLE } state;
	/* of the last LIVE; NULL before the first, and when the dataset was dropped */
	struct definition *definition;
	struct attached *attached;
	struct layout *layout;
	char epoch[EPOCH_BYTES + 1];
	int64_t at; /* who is in step has seen all up to here */
	struct map flows;
	struct wanted *wanted; /* who waits until it is live (feed_wanted.c) */
	struct addr *changed;  /* who was reset because of the schema, and is told the new one */
	size_t changed_count;
	struct alarm retry, beat;
	unsigned beats;
	int64_t slowest; /* as the database was told */
};

struct feed *feed_for(struct str dataset); /* found, or made */
/* Whether the token allows them to read it at all. */
bool feed_allows(const struct feed *f, const struct principal *who);
/* Whether the wish still means this shape for them, of a feed that has been live. */
bool feed_sees(const struct feed *f, const struct principal *who, const struct shape_wish *wish,
	const char *shape);
void feed_is_read(struct feed *f); /* by somebody now */
/* One that the process before had goes on when its dataset is live. Owns what is in it. */
struct restored;
void feed_restore(struct str dataset, struct addr session, const struct restored *r);
void feed_free_if_unused(struct feed *f);
void feed_retry_soon(struct feed *f);

/* ---- flow.c: what one shape's readers are told ---- */

struct stepping;

/* What a reader asked for, in one text that all of it lies in. */
struct wish_text {
	struct shape_wish wish;
	char *text;
};
struct wish_text wish_copy(const struct shape_wish *wish);
void wish_free(struct wish_text *w);

struct flow {
	struct feed *feed;
	struct shape *shape;
	struct wish_text wish; /* of its first reader: the others' mean the same */
	struct reader *readers;
	size_t count, live_count;
	bool joined;               /* the database tells what concerns it */
	int64_t told;              /* `to` of what its live readers were told last */
	const struct window *have; /* of a window: what they have then; NULL: nobody knows */
	struct audience *audience; /* the live ones; NULL: to be made anew */
	struct stepping *steps;    /* under way */
	uint64_t failing_ms;       /* since when none of its steps succeeds; 0: the last one has */
	unsigned busy;             /* somebody works with it: it stays */
};

struct flow *flow_for(struct feed *f, const struct shape *s, const struct shape_wish *wish);
void flow_free_if_unused(struct flow *w);
/* What concerns it of the changes up to `at`. */
void flow_told(struct flow *w, const struct told *told, int64_t at);
/* Who is in step hears that the position has moved, if it has. */
void flow_moved(struct flow *w);
/* It is not joined any more, by itself: its readers take steps. */
void flow_parted(struct flow *w);
void flow_reset(struct flow *w, enum step_reset why);
void flow_go(struct flow *w); /* all that are far */
void flow_step(struct reader *r);
void flow_step_without(struct reader *r); /* it does not wait for its step any more */
void flow_left(struct flow *w);           /* one is not live any more */
size_t flows_under_way(void);             /* steps, of this worker */
void flows_rest(void);                    /* none begins any more */

/* ---- reader.c ---- */

struct reader {
	struct flow *flow;
	struct outlet *outlet;
	struct reader *next, **back;
	struct reader *next_of_outlet, **back_of_outlet;
	enum reader_state {
		READER_FAR,      /* takes a step as soon as it may */
		READER_STEPPING, /* one is under way */
		READER_HOLDING,  /* the messages of one wait until they may be sent */
		READER_LIVE
	} state;
	struct standing_at at; /* its own; not of a live one */
	uint64_t credit, sent; /* messages since subscribe */
	bool snapshot;         /* so it was answered */
	struct step_result *held;
	size_t held_next;
	struct stepping *stepping;
	struct reader *next_stepping;
};

static inline void window_drop(const struct window **have)
{
	struct window *it = (struct window *)(uintptr_t)*have;
	window_unref(&it);
	*have = NULL;
}

struct standing_at standing_copy(const struct standing_at *at);
void standing_free(struct standing_at *at);

/* It is far; reader_go() begins. */
struct reader *reader_new(struct flow *w, struct outlet *o, const struct standing_at *at);
/* Gone, without a word; with its flow, when it was the last one. */
void reader_free(struct reader **r);
struct reader *reader_find(const struct outlet *o, struct str sub);
/* Sends what waits, or takes the next step, if it may. */
void reader_go(struct reader *r);
/* Whether so many messages, of so many bytes together, may be sent at once. */
bool reader_may(const struct reader *r, size_t messages, size_t bytes);
void reader_sent(struct reader *r, size_t messages, size_t bytes); /* they have been */
void reader_stand(struct reader *r, const struct standing_at *at); /* copies */
/* What it cannot be sent yet. False: too much is held already, and it was reset and freed. */
bool reader_hold(struct reader *r, struct step_result *result);
void reader_put_down(struct reader *r);
/* A live one that is not told what the others are: it goes on from where it is. */
void reader_behind(struct reader *r);
/* Told why, and freed. */
void reader_reset(struct reader *r, enum step_reset why);

/* ---- feed_events.c: the messages ---- */

struct frame *frame_of_step(const struct flow *w, const struct step_message *m);
struct frame *frame_of_ops(
	const struct flow *w, int64_t from, int64_t to, size_t part, bool last, struct str ops);
struct frame *frame_of_uptodate(const struct flow *w, int64_t seq);
/* readers: how many are told at about the same time */
struct frame *frame_of_reset(const char *sub, enum step_reset why, size_t readers);
struct frame *frame_of_schema(const struct feed *f, const struct principal *who);

/* ---- what is asked of a home, as calls that come from subscriptions.c ---- */

struct subscribe_params {
	struct str dataset, where, columns, order, resume;
	struct param_int limit, credit;
	struct param_bool notify;
	int64_t most; /* its session has so many, and can have no other; 0: it can */
};
void feed_subscribe(struct post *call);

struct sub_params {
	struct str sub, seq;
	struct param_int credit;
};
void feed_unsubscribe(struct post *call);
void feed_ack(struct post *call);

/* ---- feed_wanted.c: who waits until a dataset is live ---- */

/* One that the process before had: where it stands, as what. */
struct restored {
	struct wish_text wish;
	char shape[SHAPE_ID_BYTES + 1], epoch[EPOCH_BYTES + 1];
	struct standing_at at; /* own copy */
	uint64_t credit, sent;
	bool snapshot;
};

void wanted_start(struct worker *w);
void wanted_stop(void);
/* Admits a subscribe to a feed that is live, or refuses it. */
void feed_answer(struct feed *f, struct call *c);
void feed_refuse_unavailable(struct call *c);
void wanted_call(struct feed *f, struct call *c);
void wanted_restored(struct feed *f, struct addr session, const struct restored *r); /* owns it */
/* Of one that is still to be restored: it is not wanted any more (false: it is none); it may be sent so much. */
bool wanted_end(struct feed *f, struct addr session, struct str sub);
void wanted_credit(struct feed *f, struct addr session, struct str sub, uint64_t credit);
void wanted_admit(struct feed *f);  /* it is live */
void wanted_refuse(struct feed *f); /* calls wait no longer */
void wanted_forget(struct feed *f); /* nor does anybody */
void wanted_gone(struct feed *f, struct addr session);
/* fn for each that the process before had. */
void wanted_each(const struct feed *f,
	void (*fn)(void *context, struct addr session, const struct restored *r), void *context);
