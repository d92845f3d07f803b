#include "client/bench_parts.h"

#include "core/json_out.h"

#include <inttypes.h>

static const struct {
	const char *name;
	double part;
} percentiles[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
enum { PERCENTILES = sizeof(percentiles) / sizeof(*percentiles), US_NS = 1000, TEXT = 32 };

/* ---- for programs ---- */

static void json_real(struct json_out *o, const char *key, double n)
{
	char text[TEXT];
	int length = snprintf(text, sizeof(text), "%.6g", n);
	json_raw(o, key, (struct str){text, (size_t)length});
}

static void json_count(struct json_out *o, const char *key, uint64_t n)
{
	json_int(o, key, (int64_t)n);
}

static void write_latency(struct json_out *o, const struct histogram *h)
{
	json_open(o, "latency_us", '{');
	for (unsigned i = 0; i < PERCENTILES; i++)
		if (h->count)
			json_real(o, percentiles[i].name,
				(double)histogram_at(h, percentiles[i].part) / US_NS);
		else
			json_nothing(o, percentiles[i].name);
	json_close(o, '}');
}

static void write_json(const struct bench *b, const struct result *r)
{
	struct buf text = BUF_INIT(16384);
	struct json_out o = JSON_OUT(&text);
	json_open(&o, NULL, '{');
	json_text(&o, "scenario", scenario_names[r->scenario]);
	json_text(&o, "dialect", b->dialect->name);
	json_bool(&o, "batch", r->batch);
	json_bool(&o, "tls", r->tls);
	const struct {
		const char *name;
		uint64_t n;
	} counts[] = {{"members", r->members}, {"rooms", r->rooms}, {"publishers", r->publishers},
		{"outstanding", r->outstanding}, {"bytes", r->bytes}, {"rate", r->rate},
		{"pairs", r->pairs}, {"connections", r->connections}, {"messages", r->messages},
		{"deliveries", r->deliveries}, {"handshakes", r->handshakes},
		{"resumed", r->resumed}, {"in_all", r->in_all}, {"lost", r->lost},
		{"wrong", r->wrong}, {"late", r->late}, {"cpu_ns", r->cpu_ns},
		{"rss_before", r->rss_before}, {"rss_joined", r->rss_joined},
		{"rss_held", r->rss_held}};
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		json_count(&o, counts[i].name, counts[i].n);
	json_real(&o, "seconds", r->seconds);
	json_real(&o, "all_joined_s", r->all_joined_s);
	write_latency(&o, &r->latency);
	json_close(&o, '}');
	fprintf(stdout, STR_FMT "\n", STR_ARG(buf_str(&text)));
	buf_free(&text);
}

/* ---- for people ---- */

struct cell {
	const char *title, *unit;
	char text[TEXT];
};

enum { CELLS_MAX = 16 };

struct row {
	struct cell cells[CELLS_MAX];
	unsigned count;
};

static void add(struct row *row, const char *title, const char *unit, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void add(struct row *row, const char *title, const char *unit, const char *format, ...)
{
	struct cell *c = &row->cells[row->count++];
	va_list args;
	c->title = title;
	c->unit = unit;
	va_start(args, format);
	vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
}

static void add_latency(struct row *row, const struct result *r)
{
	static const unsigned shown[] = {0, 2, 4}; /* of percentiles */
	for (unsigned i = 0; i < sizeof(shown) / sizeof(*shown); i++) {
		double ms = (double)histogram_at(&r->latency, percentiles[shown[i]].part) / 1e6;
		if (r->latency.count)
			add(row, percentiles[shown[i]].name, "ms", "%.3f", ms);
		else
			add(row, percentiles[shown[i]].name, "ms", "-");
	}
}

static void add_cpu(struct row *row, const struct result *r, const char *title, uint64_t count)
{
	if (r->cpu_ns && count)
		add(row, title, "µs CPU", "%.3f", (double)r->cpu_ns / 1000 / (double)count);
	else
		add(row, title, "µs CPU", "-");
}

static void add_load(struct row *row, const struct result *r)
{
	if (r->rate)
		add(row, "rate", "/s", "%u", r->rate);
	else if (r->outstanding)
		add(row, "under way", "", "%u", r->outstanding);
}

static double a_second(const struct result *r, uint64_t count)
{
	return r->seconds > 0 ? (double)count / r->seconds : 0;
}

static void add_checks(struct row *row, const struct result *r)
{
	add(row, "lost", "", "%" PRIu64, r->lost);
	add(row, "wrong", "", "%" PRIu64, r->wrong);
	if (r->rate)
		add(row, "late", "", "%" PRIu64, r->late);
}

static void add_memory(struct row *row, const struct result *r)
{
	const double mib = 1024 * 1024;
	add(row, "before", "MiB", "%.1f", (double)r->rss_before / mib);
	add(row, "joined", "MiB", "%.1f", (double)r->rss_joined / mib);
	add(row, "then", "MiB", "%.1f", (double)r->rss_held / mib);
	add(row, "each", "KiB", "%.2f",
		((double)r->rss_held - (double)r->rss_before) / 1024 / r->connections);
}

static void fill(struct row *row, const struct result *r)
{
	switch (r->scenario) {
	case SCENARIO_FANOUT:
		add(row, "members", "", "%u", r->members);
		add(row, "rooms", "", "%u", r->rooms);
		add(row, "data", "bytes", "%u", r->bytes);
		add_load(row, r);
		add(row, "messages", "/s", "%.0f", a_second(r, r->messages));
		add(row, "deliveries", "/s", "%.0f", a_second(r, r->deliveries));
		add_cpu(row, r, "delivery", r->deliveries);
		add_latency(row, r);
		add_checks(row, r);
		break;
	case SCENARIO_SIGNAL:
		add(row, "pairs", "", "%u", r->pairs);
		add(row, "offer", "bytes", "%u", r->bytes);
		add_load(row, r);
		add(row, "signals", "/s", "%.0f", a_second(r, r->messages));
		add_cpu(row, r, "signal", r->messages);
		add_latency(row, r);
		add_checks(row, r);
		break;
	case SCENARIO_HANDSHAKE:
		add_load(row, r);
		add(row, "handshakes", "/s", "%.0f", a_second(r, r->handshakes));
		add_cpu(row, r, "handshake", r->handshakes);
		add_latency(row, r);
		if (r->tls)
			add(row, "resumed", "%", "%.0f",
				r->handshakes ? 100 * (double)r->resumed / (double)r->handshakes
					      : 0);
		break;
	case SCENARIO_IDLE:
		add(row, "connections", "", "%u", r->connections);
		add(row, "in rooms of", "", "%u", r->members);
		add(row, "all joined", "s", "%.2f", r->all_joined_s);
		add_memory(row, r);
		break;
	case SCENARIO_JOIN:
		add(row, "members", "", "%u", r->members);
		add(row, "rooms", "", "%u", r->rooms);
		add(row, "all know all", "s", "%.3f", r->all_joined_s);
		add_cpu(row, r, "join", r->messages);
		add_checks(row, r);
		break;
	}
}

/* So many columns on the terminal: a letter of UTF-8 is one. */
static unsigned width(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static unsigned column(const struct cell *c)
{
	unsigned n = width(c->title) > width(c->unit) ? width(c->title) : width(c->unit);
	return n > 9 ? n : 9;
}

static void print_cell(const char *text, unsigned columns)
{
	fprintf(stdout, "%*s%s", (int)(columns + 2 - width(text)), "", text);
}

static void print_line(const struct row *row, const char *first, int which)
{
	fprintf(stdout, "%-10s", first);
	for (unsigned i = 0; i < row->count; i++) {
		const struct cell *c = &row->cells[i];
		const char *texts[] = {c->title, c->unit, c->text};
		print_cell(texts[which], column(c));
	}
	fprintf(stdout, "\n");
}

static void write_table(struct bench *b, const struct result *r)
{
	struct row row = {.count = 0};
	fill(&row, r);
	if (!b->any_title || b->titled != r->scenario) {
		if (b->any_title)
			fprintf(stdout, "\n");
		print_line(&row, scenario_names[r->scenario], 0);
		print_line(&row, "", 1);
	}
	b->any_title = true;
	b->titled = r->scenario;
	print_line(&row, "", 2);
}

bool bench_report(struct bench *b, const struct result *r)
{
	if (b->options.json)
		write_json(b, r);
	else
		write_table(b, r);
	fflush(stdout);
	if (r->lost || r->wrong)
		fprintf(stderr,
			"%s: %" PRIu64 " deliveries are lost, %" PRIu64
			" were doubled, out of order or not meant for "
			"who got them\n",
			b->host->command, r->lost, r->wrong);
	if (r->late)
		fprintf(stderr,
			"%s: the server does not keep up with this rate: %" PRIu64
			" messages could not be sent\n",
			b->host->command, r->late);
	return !r->lost && !r->wrong && !r->late;
}
