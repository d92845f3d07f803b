#include "service/datasets.h"

#include "core/mem.h"
#include "dataset/board.h"
#include "dataset/catalog.h"
#include "dataset/definition_text.h"
#include "dataset/feed.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* Links on the way stay: what they lead to is found each time that the file is opened. */
static struct str from_root(const char *path, struct buf *b)
{
	char here[PATH_MAX];
	if (*path != '/' && getcwd(here, sizeof(here)))
		buf_addf(b, "%s/", here);
	buf_adds(b, str_of(path));
	return buf_str(b);
}

struct definition *config_definition(const struct config_dataset *from)
{
	struct buf path = BUF_INIT(2 * PATH_MAX);
	struct definition d = {.name = str_of(from->name),
		.database = from_root(from->database, &path),
		.table = str_of(from->table),
		.rules = {[RULE_READ] = str_of(from->read),
			[RULE_INSERT] = str_of(from->insert),
			[RULE_UPDATE] = str_of(from->update),
			[RULE_DELETE] = str_of(from->delete)},
		.depend_count = from->depends.count,
		.depends = config_spans(&from->depends),
		.hidden_count = from->hide.count,
		.hidden = mem_alloc((from->hide.count + 1) * sizeof(struct hidden_column)),
		.key_count = from->key.count,
		.key = config_spans(&from->key),
		.configured = true};
	for (size_t i = 0; i < from->hide.count; i++)
		d.hidden[i] = hidden_read(str_of(from->hide.items[i]));
	struct definition *made = definition_new(&d);
	buf_free(&path);
	free(d.depends);
	free(d.hidden);
	free(d.key);
	return made;
}

/* ---- the board of the demo ---- */

static struct definition *board; /* NULL: there is none */

void datasets_begin(const struct config *c)
{
	board = c->server.demo ? board_definition(c->data.directory) : NULL;
}

void datasets_finish(void)
{
	definition_unref(&board);
}

/* Unless the operator has a dataset of that name. */
static size_t add_board(struct definition **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_is(list[i]->name, BOARD_DATASET))
			return count;
	list[count] = board ? definition_ref(board) : NULL;
	return count + (board != NULL);
}

void datasets_configure(const struct config *c)
{
	size_t count = c->datasets.count;
	struct definition **list = mem_alloc((count + 1) * sizeof(*list));
	databases_configure(&(struct database_options){.keep_ms = c->dataset.keep,
		.keep_bytes = (int64_t)c->dataset.keep_size,
		.lag_max = c->dataset.lag_max,
		.hold_bytes = 4 * (int64_t)c->dataset.keep_size,
		.poll_ms = (unsigned)c->dataset.poll,
		.readers = (int)c->dataset.readers});
	feed_configure(&(struct feed_options){.subscriptions = c->dataset.subscriptions_per_session,
		.kept_messages = c->limits.kept_messages,
		.kept_bytes = c->limits.kept_bytes});
	for (size_t i = 0; i < count; i++)
		list[i] = config_definition(&c->datasets.items[i]);
	count = add_board(list, count);
	catalog_configure(list, count);
	for (size_t i = 0; i < count; i++)
		definition_unref(&list[i]);
	free(list);
}
