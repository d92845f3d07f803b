/* log.h: one line an event, logfmt for people or JSON. Any thread; a line is one write(2).
 * Never a token, a password or a secret: whoever logs passes only what may be read by others. */
#pragma once

#include "core/str.h"

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_IS_STR, LOG_IS_INT } kind;
	struct str text;
	int64_t number;
};

#define LOG_STR(key_, s_) ((struct log_field){.key = (key_), .kind = LOG_IS_STR, .text = (s_)})
#define LOG_TEXT(key_, s_) LOG_STR(key_, str_of(s_))
#define LOG_INT(key_, n_) \
	((struct log_field){.key = (key_), .kind = LOG_IS_INT, .number = (int64_t)(n_)})

/* log_info("room loaded", LOG_STR("room", name), LOG_INT("members", n)); */
#define log_at(level, event, ...) \
	log_emit(level, event, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Before any thread starts. fd is where lines go (2 by default). */
void log_configure(enum log_level least, bool json, int fd);
void log_emit(enum log_level level, const char *event, const struct log_field *fields);
