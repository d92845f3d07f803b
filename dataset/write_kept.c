#include "dataset/write_parts.h"

#include <openssl/sha.h>

/* Of a mutation's answers of long ago, this many go with each new one: more than come. */
#define FORGET_SOME "200"

/* What a retry has to say again: the ops but for their spacing, and whether they are all or nothing. */
void write_hash(struct write *w)
{
	struct str ops = w->wish->ops;
	struct buf bare = BUF_INIT(WRITE_BYTES_MAX + 1);
	bool in_string = false;
	size_t from = 0, i = 0;
	buf_addc(&bare, w->wish->atomic ? '1' : '0');
	for (; i < ops.n; i++) {
		char c = ops.p[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
			buf_add(&bare, ops.p + from, i - from);
			from = i + 1;
		}
	}
	buf_add(&bare, ops.p + from, ops.n - from);
	SHA256((const unsigned char *)bare.p, bare.n, w->hash);
	buf_free(&bare);
}

/* A statement with dataset, user and mutation as its first parameters. */
static sqlite3_stmt *about_mutation(struct write *w, const char *sql)
{
	const struct write_wish *wish = w->wish;
	struct str names[] = {wish->dataset, wish->user, wish->mutation};
	sqlite3_stmt *stmt = write_statement(w, sql);
	for (int i = 0; stmt && i < 3; i++)
		sqlite3_bind_text(stmt, i + 1, names[i].p, (int)names[i].n, SQLITE_STATIC);
	return stmt;
}

enum err write_recall(struct write *w, bool *ret_known)
{
	bool row = false;
	sqlite3_stmt *stmt = about_mutation(w,
		"SELECT hash, answer FROM _sb_mutations WHERE dataset=?1 AND user=?2 AND "
		"mutation=?3 "
		"AND at>?4");
	if (!stmt)
		return w->out->err;
	sqlite3_bind_int64(stmt, 4, w->wish->now_ms - WRITE_KEPT_MS);
	enum err err = write_step(w, stmt, &row);
	*ret_known = row;
	if (err || !row)
		return err;
	struct value hash = value_of(stmt, 0), answer = value_of(stmt, 1);
	if (str_eq(hash.bytes, (struct str){(const char *)w->hash, sizeof(w->hash)}))
		buf_adds(&w->out->result, answer.bytes);
	else
		err = write_refuse(w, ERR_CONFLICT, "mutation_used",
			"This mutation has named other ops before; each write needs a word of its "
			"own.");
	sqlite3_reset(stmt);
	return err;
}

enum err write_keep(struct write *w)
{
	bool row = false;
	sqlite3_stmt *stmt = about_mutation(w,
		"INSERT OR REPLACE INTO _sb_mutations(dataset, user, mutation, hash, answer, at) "
		"VALUES(?1,?2,?3,?4,?5,?6)");
	if (!stmt)
		return w->out->err;
	struct str answer = buf_str(&w->out->result);
	sqlite3_bind_blob(stmt, 4, w->hash, sizeof(w->hash), SQLITE_STATIC);
	sqlite3_bind_text(stmt, 5, answer.p, (int)answer.n, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 6, w->wish->now_ms);
	if (write_step(w, stmt, &row))
		return w->out->err;
	sqlite3_reset(stmt);
	stmt = write_statement(w,
		"DELETE FROM _sb_mutations WHERE (dataset, user, mutation) IN "
		"(SELECT dataset, user, mutation FROM _sb_mutations WHERE at<=?1 LIMIT " FORGET_SOME
		")");
	if (!stmt)
		return w->out->err;
	sqlite3_bind_int64(stmt, 1, w->wish->now_ms - WRITE_KEPT_MS);
	enum err err = write_step(w, stmt, &row);
	sqlite3_reset(stmt);
	return err;
}
