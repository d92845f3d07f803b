#include "dataset/rule.h"

#include "dataset/caller.h"
#include "dataset/capture.h"

#include <stdio.h>

struct allowed {
	const struct layout *l;
	const struct str *depends;
	size_t depend_count;
};

static bool same_name(const char *a, struct str b)
{
	return a && strlen(a) == b.n && sqlite3_strnicmp(a, b.p, (int)b.n) == 0;
}

static bool may_read(const struct allowed *a, const char *table)
{
	if (same_name(table, a->l->table))
		return true;
	for (size_t i = 0; i < a->depend_count; i++)
		if (same_name(table, a->depends[i]))
			return true;
	return false;
}

/* A rule itself reads what it may, and calls what it may. What a view does to answer is the view's: that says within what
 * it is, but for a table of which it reads no column (a count). */
static int authorize(void *context, int action, const char *first, const char *second,
	const char *database, const char *within)
{
	const struct allowed *a = context;
	bool of_view = a->l && a->l->view && within;
	bool may = false;
	switch (action) {
	case SQLITE_SELECT:
		may = true;
		break;
	case SQLITE_READ:
		if (a->l && a->l->view && (within || !*second))
			may = true;
		else
			may = a->l && may_read(a, first) && same_name(database, STR("main"));
		break;
	case SQLITE_FUNCTION:
		may = of_view || rule_function(str_of(second));
		break;
	case SQLITE_RECURSIVE:
		may = of_view;
		break;
	default:
		break;
	}
	return may ? SQLITE_OK : SQLITE_DENY;
}

static enum err compile(const struct rule *r, sqlite3 *db, const struct allowed *a, char *ret_why)
{
	struct buf sql = BUF_INIT(8 * RULE_MAX);
	sqlite3_stmt *s = NULL;
	int texts = 0;
	buf_adds(&sql, STR("SELECT 1"));
	if (a->l) {
		buf_adds(&sql, STR(" FROM main."));
		sql_name(&sql, a->l->table);
		buf_adds(&sql, STR(" AS "));
		sql_name(&sql, a->l->table);
	}
	buf_adds(&sql, STR(" WHERE "));
	rule_sql(r, RULE_NOW, 0, &sql);
	enum err err = sql.err;
	if (!err) {
		/* or a name that is no column would be a text */
		sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, -1, &texts);
		sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
		sqlite3_set_authorizer(db, authorize, (void *)(uintptr_t)a);
		if (sqlite3_prepare_v2(db, sql.p, -1, &s, NULL) != SQLITE_OK) {
			snprintf(ret_why, RULE_WHY_MAX, "SQLite does not take it: %s",
				sqlite3_errmsg(db));
			err = ERR_PARAMS;
		}
		sqlite3_set_authorizer(db, NULL, NULL);
		sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, texts, NULL);
	}
	sqlite3_finalize(s);
	buf_free(&sql);
	return err;
}

static enum err check(struct str text, sqlite3 *db, const struct allowed *a, char *ret_why)
{
	struct rule *r;
	enum err err = rule_new(text, a->l, a->depends, a->depend_count, &r, ret_why);
	if (err)
		return err;
	err = compile(r, db, a, ret_why);
	rule_free(&r);
	return err;
}

enum err rule_compile(const struct rule *r, sqlite3 *db, const struct layout *l,
	const struct str *depends, size_t depend_count, char *ret_why)
{
	return compile(r, db, &(struct allowed){l, depends, depend_count}, ret_why);
}

static enum err check_hidden(
	const struct hidden_column *hidden, sqlite3 *db, const struct layout *l, char *ret_why)
{
	size_t column = layout_find(l, hidden->column);
	if (column == SIZE_MAX) {
		snprintf(ret_why, RULE_WHY_MAX, "there is no column " STR_FMT,
			STR_ARG(hidden->column));
		return ERR_PARAMS;
	}
	if (l->columns[column].key) {
		snprintf(ret_why, RULE_WHY_MAX,
			"the column " STR_FMT " is of the key, which every reader is told",
			STR_ARG(hidden->column));
		return ERR_PARAMS;
	}
	if (!hidden->unless.n)
		return ERR_OK;
	return check(hidden->unless, db, &(struct allowed){0}, ret_why);
}

enum err rules_check(const struct definition *d, sqlite3 *db, const struct layout *l,
	struct str *ret_field, char *ret_why)
{
	static const char *const names[RULES] = {
		[RULE_READ] = "read",
		[RULE_INSERT] = "insert",
		[RULE_UPDATE] = "update",
		[RULE_DELETE] = "delete",
	};
	const struct allowed allowed = {l, d->depends, d->depend_count};
	for (size_t i = 0; i < RULES; i++) {
		if (!d->rules[i].n || check(d->rules[i], db, &allowed, ret_why) == ERR_OK)
			continue;
		*ret_field = str_of(names[i]);
		return ERR_PARAMS;
	}
	for (size_t i = 0; i < d->hidden_count; i++) {
		if (check_hidden(&d->hidden[i], db, l, ret_why) == ERR_OK)
			continue;
		*ret_field = STR("hide");
		return ERR_PARAMS;
	}
	return ERR_OK;
}
