#include "service/reload.h"

#include "core/log.h"
#include "core/metrics.h"
#include "core/worker.h"
#include "service/serve.h"
#include "service/tls.h"

enum { CHANGED_MAX = 3000 };

/* One line a fault. The lines of the file that faults are shown with, and what may have been meant, are
 * indented: these belong to the fault above. */
static void say_faults(struct str text)
{
	while (text.n) {
		const char *end = text.p;
		do {
			const char *line = memchr(end, '\n', (size_t)(text.p + text.n - end));
			end = line ? line + 1 : text.p + text.n;
		} while (end < text.p + text.n && *end == ' ');
		size_t n = (size_t)(end - text.p);
		log_error("configuration refused", LOG_STR("why", ((struct str){text.p, n - 1})));
		text = (struct str){end, text.n - n};
	}
}

/* TLS begins and ends with the process; only what it shows can change. */
static bool tls_begins_or_ends(const struct config *running, const struct config *fresh)
{
	return !running->tls.certificate[0] != !fresh->tls.certificate[0];
}

struct differences {
	struct buf changed;
	bool tls_stays;
};

static void say_difference(void *context, const char *path, bool at_start)
{
	struct differences *d = context;
	if (at_start || (d->tls_stays && str_starts(str_of(path), STR("tls."))))
		log_warn(CONFIG_NEEDS_RESTART, LOG_TEXT("key", path),
			LOG_TEXT("hint", "signalbox serve --take-over loses nothing"));
	else
		buf_addf(&d->changed, "%s%s", d->changed.n ? " " : "", path);
}

/* The pair anew, also when its files have the same names as before: what is in them has changed. */
static enum err load_pair(const struct config *running, const struct config *fresh,
	struct tls_pair **ret_pair, struct buf *why)
{
	if (!fresh->tls.certificate[0] || tls_begins_or_ends(running, fresh))
		return ERR_OK;
	return tls_pair_load(fresh->tls.certificate, fresh->tls.key, ret_pair, why);
}

/* Nobody but this thread runs. */
static void put_in_force(struct config *running, struct config *fresh, struct tls_pair **pair)
{
	__typeof__(running->tls) tls = running->tls;
	bool tls_stays = tls_begins_or_ends(running, fresh);
	config_exchange(running, fresh);
	if (tls_stays) {
		fresh->tls = running->tls;
		running->tls = tls;
	}
	if (*pair)
		tls_pair_use(pair);
	serve_configure_log(running);
	serve_configure(running);
}

void reload(struct config *running, const struct config_input *input)
{
	struct config *fresh = NULL;
	struct tls_pair *pair = NULL;
	struct buf why = BUF_INIT(CONFIG_TEXT_MAX);
	enum err err = config_load(input, &fresh, &why);
	if (!err)
		err = load_pair(running, fresh, &pair, &why);
	metric_add(METRIC_RELOADS, 1);
	if (err) {
		metric_add(METRIC_RELOADS_REFUSED, 1);
		say_faults(buf_str(&why));
		log_error("nothing has changed: the configuration before stays in force");
	} else {
		struct differences d = {BUF_INIT(CHANGED_MAX), tls_begins_or_ends(running, fresh)};
		config_compare(running, fresh, say_difference, &d);
		workers_pause();
		put_in_force(running, fresh, &pair);
		workers_resume();
		log_info("configuration reloaded", LOG_STR("changed", buf_str(&d.changed)));
		buf_free(&d.changed);
	}
	buf_free(&why);
	config_free(&fresh);
}
