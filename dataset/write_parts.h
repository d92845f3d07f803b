/* write_parts.h: what the files of dataset.write share: one write while it is under way. write_ops.c reads its ops,
 * write_sql.c runs SQL for it, write_apply.c does one op, write_refusal.c says why not, write_kept.c remembers answers.
 *
 * Thread: whoever runs it. */
#pragma once

#include "core/json_out.h"
#include "dataset/value.h"
#include "dataset/write.h"

enum { WRITE_STATEMENTS = 24, WRITE_SQL_MAX = 128 * 1024 };

struct write_cell {
	size_t column;
	struct value value;
};

struct write_op {
	enum write_kind { WRITE_INSERT, WRITE_UPDATE, WRITE_DELETE } kind;
	bool upsert;
	const struct value *key; /* as many as the key has columns; NULL: not given */
	struct str key_json;
	size_t set_count, old_count;
	const struct write_cell *set, *old;
	bool if_seq, if_old;
	int64_t seq;
};

struct write {
	sqlite3 *db;
	const struct layout *layout;
	const struct write_rights *rights;
	const struct write_wish *wish;
	struct written *out;
	/* what was asked for; decoded texts lie in arena, which is never moved */
	size_t op_count, value_count, cell_count;
	struct write_op *ops;
	struct value *values;
	struct write_cell *cells;
	char *arena, *arena_start;
	/* the transaction */
	int64_t base, floor; /* the head and the floor that it began with */
	int64_t looked;      /* rows of the log */
	int64_t deadline_ms;
	unsigned char hash[32];
	size_t at;   /* the op that is under way; behind them all: none */
	bool named;  /* the statement that is being prepared has named its table */
	bool abort;  /* the table itself says what a conflict replaces: not for clients */
	size_t done; /* ops that were done */
	struct buf sql, key_bytes, conflicts;
	struct value key[KEY_COLUMNS_MAX]; /* of the row that was written last; lies in key_bytes */
	struct buf rows;
	struct write_statement {
		char *sql;
		sqlite3_stmt *stmt;
		uint64_t used;
	} statements[WRITE_STATEMENTS];
	uint64_t statement_uses;
};

/* write_ops.c: ERR_PARAMS, ERR_TOO_LARGE with the outcome filled. */
enum err write_read_ops(struct write *w);
void write_free_ops(struct write *w);

/* write_sql.c: statements are kept as long as the write; NULL, or an error: the outcome says why. */
sqlite3_stmt *write_statement(struct write *w, const char *sql);
void write_finalize(struct write *w);
enum err write_exec(struct write *w, const char *sql);
enum err write_bind_cells(struct write *w, sqlite3_stmt *stmt, const struct value *v, size_t n);
enum err write_bind_ruling(struct write *w, sqlite3_stmt *stmt, const struct ruling *ruling);
/* The next row: ret_row false when there is none. */
enum err write_step(struct write *w, sqlite3_stmt *stmt, bool *ret_row);
void write_guard(
	struct write *w, bool on); /* client's data is being written: authorizer and time limit */
enum err write_head(struct write *w, int64_t *ret_seq, int64_t *ret_floor);

/* write_apply.c: one op; its result is behind those in w->rows. */
enum err write_apply(struct write *w, const struct write_op *op);
/* Behind a refusal for a conflict: looks at the conditions of the ops behind it, too; puts all conflicts into it. */
void write_find_conflicts(struct write *w);
void write_tell_conflicts(struct write *w);
void write_columns(const struct write *w, struct json_out *o); /* "columns": those that rows have */

/* write_refusal.c */
enum err write_refuse(struct write *w, enum err err, const char *reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, about a member of an op: "set.title", in "ops[3].set.title". name may be empty. */
enum err write_refuse_member(struct write *w, size_t op, enum err err, const char *reason,
	const char *member, struct str name, const char *message);
/* What the last error of the connection means. */
enum err write_refuse_sqlite(struct write *w);
enum err write_refuse_values(struct write *w);      /* a step has failed with SQLITE_ERROR */
enum err write_refuse_foreign_key(struct write *w); /* of what is only looked at in the end */
void write_forget_refusal(struct write *w);

/* write_foreign.c: columns of the op under way that refer to rows which are not there; at most LAYOUT_COLUMNS_MAX. */
size_t write_foreign_columns(struct write *w, size_t *columns);

/* write_kept.c: answers, for who asks again. ret_known: the outcome is that answer, or that it was another write. */
void write_hash(struct write *w);
enum err write_recall(struct write *w, bool *ret_known);
enum err write_keep(struct write *w);
