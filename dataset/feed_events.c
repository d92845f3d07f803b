/* The messages of the feed (docs/PROTOCOL.md, "Datasets"). */
#include "dataset/columns.h"
#include "dataset/feed_parts.h"

#include <openssl/rand.h>

enum { SPREAD_MS_MAX = 30000, SPREAD_MS_LEAST = 500, SPREAD_MS_EACH = 20 };

static void begin(struct event *e, const char *sub, const char *method)
{
	event_begin(e, method);
	json_text(&e->params, "sub", sub);
}

static void put_seq(struct event *e, const char *key, int64_t seq)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", (long long)seq);
	json_str(&e->params, key, (struct str){text, (size_t)n});
}

struct frame *frame_of_step(const struct flow *w, const struct step_message *m)
{
	struct event e;
	begin(&e, w->shape->id, m->kind == STEP_PAGE ? "dataset.page" : "dataset.change");
	buf_addc(&e.b, ',');
	buf_adds(&e.b, m->body);
	return event_take(&e);
}

struct frame *frame_of_ops(
	const struct flow *w, int64_t from, int64_t to, size_t part, bool last, struct str ops)
{
	struct event e;
	begin(&e, w->shape->id, "dataset.change");
	put_seq(&e, "from", from);
	put_seq(&e, "to", to);
	json_int(&e.params, "part", (int64_t)part);
	json_bool(&e.params, "last", last);
	json_open(&e.params, "ops", '[');
	buf_adds(&e.b, ops);
	json_close(&e.params, ']');
	return event_take(&e);
}

struct frame *frame_of_uptodate(const struct flow *w, int64_t seq)
{
	struct event e;
	begin(&e, w->shape->id, "dataset.uptodate");
	put_seq(&e, "seq", seq);
	return event_take(&e);
}

/* Each is told to come back at a time of its own, the later the more there are. */
static void put_retry_after(struct event *e, size_t readers)
{
	uint64_t most = SPREAD_MS_LEAST + readers * SPREAD_MS_EACH, n = 0;
	if (RAND_bytes((unsigned char *)&n, sizeof(n)) != 1)
		abort();
	n %= (most > SPREAD_MS_MAX ? SPREAD_MS_MAX : most);
	char seconds[32];
	int size = snprintf(seconds, sizeof(seconds), "%llu.%03llu", (unsigned long long)n / 1000,
		(unsigned long long)n % 1000);
	json_raw(&e->params, "retry_after", (struct str){seconds, (size_t)size});
}

struct frame *frame_of_reset(const char *sub, enum step_reset why, size_t readers)
{
	static const char *const words[] = {[RESET_PRUNED] = "pruned",
		[RESET_EPOCH] = "epoch",
		[RESET_SCHEMA] = "schema",
		[RESET_AUTH] = "auth",
		[RESET_OVERFLOW] = "overflow"};
	struct event e;
	begin(&e, sub, "dataset.reset");
	json_text(&e.params, "reason", words[why]);
	put_retry_after(&e, readers);
	return event_take(&e);
}

struct frame *frame_of_schema(const struct feed *f, const struct principal *who)
{
	struct event e;
	event_begin(&e, "dataset.schema");
	json_str(&e.params, "dataset", f->name);
	json_int(&e.params, "schema_version", f->layout->version);
	columns_write(&e.params, f->definition, f->layout, who);
	return event_take(&e);
}
