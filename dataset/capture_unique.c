#include "dataset/capture_parts.h"

#include "core/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* UNIQUE indexes, because a REPLACE deletes the rows that stand in its way in any of them, and SQLite tells no trigger
 * of it. What an index has of expressions, and which rows a partial one holds, stands only in its own text. */

/* ---- the text of an index ---- */

static size_t quoted(const char *s, char end)
{
	size_t n = 1;
	while (s[n] && (s[n] != end || (end != ']' && s[n + 1] == end)))
		n += s[n] == end ? 2 : 1;
	return s[n] ? n + 1 : n;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* The bytes of what begins here: a comment, something quoted, a word, or one sign. */
static size_t token(const char *s, bool *ret_comment)
{
	const char *end = NULL;
	size_t n = 1;
	*ret_comment = false;
	if (s[0] == '-' && s[1] == '-') {
		*ret_comment = true;
		end = strchr(s, '\n');
		return end ? (size_t)(end - s) : strlen(s);
	}
	if (s[0] == '/' && s[1] == '*') {
		*ret_comment = true;
		end = strstr(s + 2, "*/");
		return end ? (size_t)(end + 2 - s) : strlen(s);
	}
	if (*s == '\'' || *s == '"' || *s == '`')
		return quoted(s, *s);
	if (*s == '[')
		return quoted(s, ']');
	if (in_word(*s))
		while (in_word(s[n]))
			n++;
	return n;
}

static void trim(struct buf *b)
{
	while (b->n && isspace((unsigned char)b->p[b->n - 1]))
		buf_cut(b, b->n - 1);
}

static void cut_word(struct buf *b, const char *word)
{
	size_t n = strlen(word);
	if (b->n > n && strcasecmp(b->p + b->n - n, word) == 0 && !in_word(b->p[b->n - n - 1]))
		buf_cut(b, b->n - n);
	trim(b);
}

static void end_part(struct unique *u, size_t at, struct buf *b)
{
	trim(b);
	if (at < u->count && u->parts[at].kind == UNIQUE_EXPRESSION && b->n) {
		cut_word(b, "ASC");
		cut_word(b, "DESC");
		u->parts[at].expression = mem_copy(buf_str(b));
	}
	buf_cut(b, 0);
}

/* Takes the expressions of "CREATE UNIQUE INDEX … ON …(…, …) WHERE …"; says where the list ends. */
static const char *take_parts(const char *s, struct unique *u, struct buf *b)
{
	size_t depth = 0, at = 0;
	bool comment;
	for (size_t n; *s; s += n) {
		n = token(s, &comment);
		if (*s == ')' && depth == 1)
			break;
		if (*s == ',' && depth == 1)
			end_part(u, at++, b);
		else if (comment)
			buf_addc(b, ' ');
		else if (depth)
			buf_add(b, s, n);
		depth += *s == '(';
		depth -= *s == ')';
	}
	end_part(u, at, b);
	return *s ? s + 1 : s;
}

static void take_where(const char *s, struct unique *u, struct buf *b)
{
	bool comment, found = false;
	for (size_t n; *s; s += n) {
		n = token(s, &comment);
		if (!found)
			found = n == 5 && strncasecmp(s, "WHERE", 5) == 0;
		else if (comment)
			buf_addc(b, ' ');
		else
			buf_add(b, s, n);
	}
	trim(b);
	if (found && b->n)
		u->where = mem_copy(buf_str(b));
}

static enum err take_text(
	sqlite3 *db, const struct captured *c, const char *name, struct unique *u, char *ret_why)
{
	sqlite3_stmt *s =
		sql_ask(db, "SELECT sql FROM main.sqlite_master WHERE type = 'index' AND name = ?1",
			str_of(name), ret_why);
	if (!s)
		return ERR_INTERNAL;
	bool whole = sqlite3_step(s) == SQLITE_ROW;
	if (whole) {
		struct buf b = BUF_INIT(SQL_BYTES_MAX);
		take_where(take_parts(text_of(s, 0).p, u, &b), u, &b);
		buf_free(&b);
	}
	sqlite3_finalize(s);
	for (size_t i = 0; i < u->count; i++)
		whole = whole && (u->parts[i].kind != UNIQUE_EXPRESSION || u->parts[i].expression);
	if (whole)
		return ERR_OK;
	snprintf(ret_why, CAPTURE_WHY_MAX, STR_FMT " has an index %s that cannot be read",
		STR_ARG(c->layout->table), name);
	return ERR_PARAMS;
}

/* ---- indexes ---- */

static struct unique *unique_add(struct captured *c, size_t parts)
{
	struct unique *u = &c->uniques[c->unique_count++];
	u->parts = mem_alloc(parts * sizeof(*u->parts));
	u->count = parts;
	return u;
}

static void part_set(struct unique_part *p, int64_t cid, struct str collation)
{
	p->kind = cid >= 0 ? UNIQUE_COLUMN : cid == -1 ? UNIQUE_ROWID : UNIQUE_EXPRESSION;
	p->column = cid >= 0 ? (size_t)cid : 0;
	p->collation = mem_copy(collation);
}

static enum err read_parts(
	sqlite3 *db, const char *name, struct captured *c, struct unique **ret, char *ret_why)
{
	sqlite3_stmt *s = sql_ask(db,
		"SELECT cid, coll, count(*) OVER () FROM pragma_index_xinfo(?1, 'main') WHERE key "
		"ORDER BY seqno",
		str_of(name), ret_why);
	if (!s)
		return ERR_INTERNAL;
	struct unique *u = NULL;
	int rc;
	for (size_t i = 0; (rc = sqlite3_step(s)) == SQLITE_ROW; i++) {
		if (!u)
			u = unique_add(c, (size_t)sqlite3_column_int64(s, 2));
		part_set(&u->parts[i], sqlite3_column_int64(s, 0), text_of(s, 1));
	}
	enum err err = rc == SQLITE_DONE && u ? ERR_OK : sql_failed(db, ret_why);
	sqlite3_finalize(s);
	*ret = u;
	return err;
}

static enum err read_index(void *captured, sqlite3_stmt *list, char *ret_why)
{
	sqlite3 *db = sqlite3_db_handle(list);
	struct captured *c = captured;
	const char *name = text_of(list, 0).p;
	if (c->unique_count == UNIQUES_MAX) {
		snprintf(ret_why, CAPTURE_WHY_MAX, STR_FMT " has more than %d UNIQUE indexes",
			STR_ARG(c->layout->table), UNIQUES_MAX);
		return ERR_PARAMS;
	}
	struct unique *u = NULL;
	enum err err = read_parts(db, name, c, &u, ret_why);
	if (err)
		return err;
	bool text = sqlite3_column_int(list, 2) != 0;
	u->key = strcmp(text_of(list, 1).p, "pk") == 0;
	for (size_t i = 0; i < u->count; i++)
		text = text || u->parts[i].kind == UNIQUE_EXPRESSION;
	return text ? take_text(db, c, name, u, ret_why) : ERR_OK;
}

/* The key that is the rowid, and the rowid that somebody may name though it is not the key. */
static void add_rowid(struct captured *c)
{
	const struct layout *l = c->layout;
	if (!l->key_is_rowid && !c->rowid)
		return;
	struct unique *u = unique_add(c, 1);
	u->key = l->key_is_rowid;
	part_set(u->parts, l->key_is_rowid ? (int64_t)l->key[0] : -1, STR("BINARY"));
}

enum err uniques_read(sqlite3 *db, struct captured *c, char *ret_why)
{
	if (c->layout->key_is_rowid)
		add_rowid(c);
	enum err err = sql_each(db,
		"SELECT name, origin, partial FROM pragma_index_list(?1, 'main') WHERE \"unique\" "
		"ORDER BY origin <> 'pk', name",
		c->layout->table, read_index, c, ret_why);
	if (!err && !c->layout->key_is_rowid && c->unique_count < UNIQUES_MAX)
		add_rowid(c);
	return err;
}

void uniques_free(struct captured *c)
{
	for (size_t i = 0; i < c->unique_count; i++) {
		struct unique *u = &c->uniques[i];
		for (size_t k = 0; k < u->count; k++) {
			free(u->parts[k].expression);
			free(u->parts[k].collation);
		}
		free(u->parts);
		free(u->where);
	}
	c->unique_count = 0;
}
