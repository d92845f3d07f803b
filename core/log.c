#include "core/log.h"

#include "core/buf.h"
#include "core/json_out.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static atomic_int least = LOG_INFO;
static atomic_int target = 2;
static atomic_bool as_json;

void log_configure(enum log_level level, bool json, int fd)
{
	atomic_store(&least, (int)level);
	atomic_store(&as_json, json);
	atomic_store(&target, fd);
}

static const char *const names[] = {"debug", "info", "warn", "error"};

static void timestamp(char *out, size_t size)
{
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* logfmt: bare when simple, else a JSON string, so that nothing can forge a line or a field. */
static void value(struct buf *b, struct str s)
{
	bool simple = s.n > 0;
	for (size_t i = 0; i < s.n && simple; i++)
		simple = s.p[i] > ' ' && s.p[i] < 0x7f && !strchr("=\"\\", s.p[i]);
	if (simple)
		buf_adds(b, s);
	else
		json_add_string(b, s);
}

static void line_text(struct buf *b, enum log_level level, const char *event, const char *when,
	const struct log_field *f)
{
	buf_addf(b, "%s %-5s ", when, names[level]);
	value(b, str_of(event));
	for (; f->key; f++) {
		buf_addf(b, " %s=", f->key);
		if (f->kind == LOG_IS_INT)
			buf_addf(b, "%" PRId64, f->number);
		else
			value(b, f->text);
	}
}

static void line_json(struct buf *b, enum log_level level, const char *event, const char *when,
	const struct log_field *f)
{
	struct json_out o = JSON_OUT(b);
	json_open(&o, NULL, '{');
	json_text(&o, "time", when);
	json_text(&o, "level", names[level]);
	json_text(&o, "event", event);
	for (; f->key; f++) {
		if (f->kind == LOG_IS_INT)
			json_int(&o, f->key, f->number);
		else
			json_str(&o, f->key, f->text);
	}
	json_close(&o, '}');
}

void log_emit(enum log_level level, const char *event, const struct log_field *fields)
{
	if ((int)level < atomic_load_explicit(&least, memory_order_relaxed))
		return;
	char when[48];
	timestamp(when, sizeof(when));
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	if (atomic_load_explicit(&as_json, memory_order_relaxed))
		line_json(&b, level, event, when, fields);
	else
		line_text(&b, level, event, when, fields);
	if (b.err) { /* too long: the event without its fields is better than nothing */
		buf_free(&b);
		line_text(&b, level, event, when, &(struct log_field){0});
	}
	buf_addc(&b, '\n');
	ssize_t written = write(atomic_load_explicit(&target, memory_order_relaxed), b.p, b.n);
	(void)written; /* a log that cannot be written has nowhere to say so */
	buf_free(&b);
}
