#include "dataset/rule.h"

#include "core/mem.h"
#include "dataset/caller.h"
#include "dataset/capture.h"
#include "dataset/rule_scan.h"

#include <stdlib.h>

/* What a rule is made of: its tokens, in a text of its own, and for each place the token that names the table. */
struct rule_private {
	char *text;
	char *names; /* of columns and tables, without their quotes */
	size_t name_bytes;
	struct tokens tokens;
	struct {
		size_t token;
		bool named; /* an alias follows */
	} places[RULE_PLACES_MAX];
};

/* While a rule is taken to pieces. */
struct parse {
	struct rule *r;
	struct tokens *t;
	const struct layout *l;
	const struct str *depends;
	size_t depend_count;
	char *why;
};

/* A run of tokens: [from, to). */
struct span {
	size_t from, to;
};

#define REFUSE(p_, token_, ...) rule_refuse((p_)->t, token_, (p_)->why, __VA_ARGS__)

static bool sign_is(const struct token *t, const char *text)
{
	return t->kind == TOKEN_SIGN && str_is(t->text, text);
}

static bool at_is(const struct parse *p, size_t i, const char *word)
{
	return i < p->t->count && token_is(&p->t->at[i], word);
}

static bool at_sign(const struct parse *p, size_t i, const char *text)
{
	return i < p->t->count && sign_is(&p->t->at[i], text);
}

static bool opens(const struct token *t)
{
	return sign_is(t, "(") || token_is(t, "CASE");
}

/* The next token of the span that is on its own level, over what is in brackets. */
static size_t step(const struct parse *p, size_t i)
{
	return opens(&p->t->at[i]) ? p->t->at[i].match + 1 : i + 1;
}

/* The first of these words on the span's own level, or its end. */
static size_t find(const struct parse *p, struct span s, const char *word)
{
	size_t i = s.from;
	while (i < s.to && !at_is(p, i, word))
		i = step(p, i);
	return i;
}

static struct str keep_name(struct parse *p, size_t token)
{
	struct rule_private *own = p->r->own;
	struct str name = token_name(&p->t->at[token], own->names + own->name_bytes);
	if (p->t->at[token].kind == TOKEN_QUOTED)
		own->name_bytes += name.n;
	return name;
}

static bool same_name(struct str a, struct str b)
{
	return a.n == b.n && sqlite3_strnicmp(a.p, b.p, (int)a.n) == 0;
}

/* Functions. */

bool rule_function(struct str name)
{
	static const char *const names[] = {"abs", "coalesce", "glob", "hex", "ifnull", "iif",
		"instr", "length", "like", "lower", "upper", "ltrim", "rtrim", "trim", "max", "min",
		"nullif", "replace", "round", "sign", "substr", "substring", "typeof", "unicode",
		"json_extract", "json_valid", "json_array_length", "->", "->>"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (same_name(name, str_of(names[i])))
			return true;
	return false;
}

/* Whether there is more than one argument between a bracket and its end. */
static bool has_comma(const struct parse *p, size_t open)
{
	for (size_t i = open + 1; i < p->t->at[open].match; i = step(p, i))
		if (at_sign(p, i, ","))
			return true;
	return false;
}

static enum err check_call(struct parse *p, size_t i)
{
	struct str name = p->t->at[i].text;
	if (p->t->at[i].kind != TOKEN_WORD || !rule_function(name))
		return REFUSE(p, i, "rules may not call " STR_FMT "()", STR_ARG(name));
	if ((same_name(name, STR("max")) || same_name(name, STR("min"))) && !has_comma(p, i + 1))
		return REFUSE(p, i, STR_FMT "() of one value goes over rows: rules may not",
			STR_ARG(name));
	return ERR_OK;
}

/* What holds of each token, wherever it stands. */

static bool is_rowid(struct str name)
{
	return same_name(name, STR("rowid")) || same_name(name, STR("oid")) ||
		same_name(name, STR("_rowid_"));
}

/* A name that is no function's: a column, or what it is qualified by. */
static enum err check_name(struct parse *p, size_t i)
{
	char room[RULE_MAX];
	struct str name = token_name(&p->t->at[i], room);
	bool word = p->t->at[i].kind == TOKEN_WORD;
	if (word && i && (at_is(p, i - 1, "COLLATE"))) {
		if (same_name(name, STR("BINARY")) || same_name(name, STR("NOCASE")) ||
			same_name(name, STR("RTRIM")))
			return ERR_OK;
		return REFUSE(p, i, "there are the collations BINARY, NOCASE and RTRIM");
	}
	if (!p->l && !(word && (same_name(name, STR("true")) || same_name(name, STR("false")))) &&
		!(i && at_is(p, i - 1, "AS")))
		return REFUSE(p, i, "this one is about the caller alone: there are no columns");
	if (is_rowid(name) && p->l && layout_find(p->l, name) == SIZE_MAX)
		return REFUSE(p, i, "rules may not use a rowid that has no name of its own");
	if (at_sign(p, i + 1, ".") && at_sign(p, i + 3, "."))
		return REFUSE(p, i, "tables are named without their database");
	return ERR_OK;
}

static enum err check_in(struct parse *p, size_t i)
{
	return at_sign(p, i + 1, "(")
		? ERR_OK
		: REFUSE(p, i, "IN is followed by a list or SELECT in brackets");
}

static enum err add_param(struct parse *p, size_t i)
{
	struct rule *r = p->r;
	for (size_t j = 0; j < r->param_count; j++)
		if (str_eq(r->params[j], p->t->at[i].text))
			return ERR_OK;
	if (r->param_count == RULE_PARAMS_MAX)
		return REFUSE(p, i, "a rule uses at most %d values of the caller", RULE_PARAMS_MAX);
	r->params[r->param_count++] = p->t->at[i].text;
	return ERR_OK;
}

static enum err check_token(struct parse *p, size_t i)
{
	const struct token *t = &p->t->at[i];
	if (t->kind == TOKEN_PARAM)
		return add_param(p, i);
	if (token_is(t, "IN"))
		return check_in(p, i);
	if (!token_is_name(t))
		return ERR_OK;
	if (!at_sign(p, i + 1, "("))
		return check_name(p, i);
	return i && at_is(p, i - 1, "AS") ? ERR_OK : check_call(p, i); /* CAST(x AS VARCHAR(9)) */
}

/* `column = :param`, on its own: which column of a table called so, or of none that is said. */
static bool equal_of(struct parse *p, struct span s, struct str *ret_table, struct rule_equal *ret)
{
	const struct token *t = p->t->at;
	size_t eq = s.from;
	while (eq < s.to && !at_sign(p, eq, "=") && !at_sign(p, eq, "=="))
		eq++;
	struct span left = {s.from, eq}, right = {eq + 1, s.to};
	if (eq == s.to)
		return false;
	if (left.to - left.from == 1 && t[left.from].kind == TOKEN_PARAM) {
		struct span other = left;
		left = right;
		right = other;
	}
	if (right.to - right.from != 1 || t[right.from].kind != TOKEN_PARAM)
		return false;
	bool qualified = left.to - left.from == 3 && at_sign(p, left.from + 1, ".");
	if (!qualified && left.to - left.from != 1)
		return false;
	if (!token_is_name(&t[left.from]) || !token_is_name(&t[left.to - 1]))
		return false;
	*ret_table = qualified ? keep_name(p, left.from) : (struct str){"", 0};
	*ret = (struct rule_equal){keep_name(p, left.to - 1), t[right.from].text};
	return true;
}

/* Where AND separates conditions: not within BETWEEN … AND …, and not where OR joins them. */
static size_t find_and(const struct parse *p, struct span s)
{
	size_t between = 0, i = s.from;
	for (; i < s.to; i = step(p, i)) {
		if (at_is(p, i, "BETWEEN"))
			between++;
		else if (at_is(p, i, "AND") && between)
			between--;
		else if (at_is(p, i, "AND"))
			break;
	}
	return i;
}

/* Subqueries. */

struct place_name {
	size_t place; /* in the rule */
	struct str alias;
};

/* The one table that a column belongs to, RULE_PLACES_MAX: nobody can say. */
static size_t owner_of(const struct parse *p, struct str table, struct str column,
	const struct place_name *names, size_t count)
{
	size_t found = RULE_PLACES_MAX;
	if (!table.n) /* an outer column of that name would be meant where the inner table has none */
		return count == 1 && layout_find(p->l, column) == SIZE_MAX ? names[0].place : found;
	for (size_t i = 0; i < count; i++) {
		if (!same_name(names[i].alias, table))
			continue;
		if (found != RULE_PLACES_MAX)
			return RULE_PLACES_MAX;
		found = names[i].place;
	}
	return found;
}

/* What each row has to be by the conditions that AND joins. */
static void find_place_equals(
	struct parse *p, struct span s, const struct place_name *names, size_t count)
{
	struct rule_equal equal;
	struct str table;
	if (find(p, s, "OR") < s.to)
		return;
	while (s.from < s.to) {
		size_t end = find_and(p, s);
		if (equal_of(p, (struct span){s.from, end}, &table, &equal)) {
			size_t place = owner_of(p, table, equal.column, names, count);
			if (place < RULE_PLACES_MAX && !p->r->places[place].equal.column.n)
				p->r->places[place].equal = equal;
		}
		s.from = end + 1;
	}
}

/* One table behind FROM, JOIN or a comma, with its alias; *i goes behind it. */
static enum err read_place(struct parse *p, size_t *i, size_t to, struct place_name *ret)
{
	struct rule *r = p->r;
	size_t at = *i, depend = 0;
	if (at >= to || !token_is_name(&p->t->at[at]) || at_sign(p, at + 1, ".") ||
		at_sign(p, at + 1, "("))
		return REFUSE(p, at, "here a table of depends stands, and nothing else");
	if (r->place_count == RULE_PLACES_MAX)
		return REFUSE(p, at, "a rule looks into at most %d tables", RULE_PLACES_MAX);
	struct str name = keep_name(p, at);
	while (depend < p->depend_count && !same_name(p->depends[depend], name))
		depend++;
	if (depend == p->depend_count)
		return REFUSE(p, at, "the table " STR_FMT " is not in depends", STR_ARG(name));
	size_t alias = at + 1 + at_is(p, at + 1, "AS");
	bool named = alias < to && token_is_name(&p->t->at[alias]);
	if (!named && alias > at + 1)
		return REFUSE(p, alias, "behind AS there is no name");
	*ret = (struct place_name){r->place_count, named ? keep_name(p, alias) : name};
	r->own->places[r->place_count].token = at;
	r->own->places[r->place_count].named = named;
	r->places[r->place_count++].depend = p->depends[depend];
	*i = named ? alias + 1 : at + 1;
	return ERR_OK;
}

/* Where the next table is named: behind a comma or [INNER|CROSS] JOIN. */
static size_t next_table(const struct parse *p, size_t i, size_t to)
{
	if (i < to && at_sign(p, i, ","))
		return i + 1;
	if (at_is(p, i, "INNER") || at_is(p, i, "CROSS"))
		i++;
	return i < to && at_is(p, i, "JOIN") ? i + 1 : SIZE_MAX;
}

static bool begins_table(const struct parse *p, size_t i)
{
	return at_sign(p, i, ",") || at_is(p, i, "INNER") || at_is(p, i, "CROSS") ||
		at_is(p, i, "JOIN");
}

static enum err read_tables(struct parse *p, struct span s, struct span where)
{
	struct place_name names[RULE_PLACES_MAX];
	struct span on[RULE_PLACES_MAX];
	size_t count = 0, conditions = 0, i = s.from;
	for (;;) {
		enum err err = read_place(p, &i, s.to, &names[count]);
		if (err)
			return err;
		count++;
		if (i < s.to && at_is(p, i, "ON")) {
			size_t end = i + 1;
			while (end < s.to && !begins_table(p, end))
				end = step(p, end);
			on[conditions++] = (struct span){i + 1, end};
			i = end;
		}
		if (i >= s.to)
			break;
		size_t next = next_table(p, i, s.to);
		if (next == SIZE_MAX)
			return REFUSE(p, i,
				"tables are joined by JOIN … ON or a comma, and by nothing else");
		i = next;
	}
	for (i = 0; i < conditions; i++)
		find_place_equals(p, on[i], names, count);
	find_place_equals(p, where, names, count);
	return ERR_OK;
}

/* SELECT … FROM … [WHERE …], s without the brackets. */
static enum err read_subquery(struct parse *p, struct span s)
{
	size_t from = find(p, s, "FROM");
	if (from == s.to)
		return REFUSE(p, s.from, "this SELECT has no FROM");
	size_t where = find(p, (struct span){from, s.to}, "WHERE");
	for (size_t i = s.from + 1; i < s.to; i++)
		if (at_is(p, i, "SELECT") || at_is(p, i, "EXISTS"))
			return REFUSE(p, i, "a subquery has none in it");
	for (size_t i = s.from; i < s.to; i = step(p, i))
		if ((at_is(p, i, "FROM") && i != from) || (at_is(p, i, "WHERE") && i != where) ||
			(at_is(p, i, "SELECT") && i != s.from) ||
			(at_is(p, i, "DISTINCT") && i != s.from + 1))
			return REFUSE(p, i, "this has no place here");
	return read_tables(p, (struct span){from + 1, where},
		(struct span){where < s.to ? where + 1 : s.to, s.to});
}

/* The structure at the top. */

static enum err read_or(struct parse *p, struct span s, bool always);

static bool has_select(const struct parse *p, struct span s)
{
	for (size_t i = s.from; i < s.to; i++)
		if (at_is(p, i, "SELECT") || at_is(p, i, "FROM") || at_is(p, i, "EXISTS"))
			return true;
	return false;
}

static bool compares(const struct token *t)
{
	static const char *const words[] = {"NOT", "IS", "IN", "LIKE", "GLOB", "BETWEEN", "ESCAPE",
		"ISNULL", "NOTNULL", "DISTINCT"};
	static const char *const signs[] = {"=", "==", "<>", "!=", "<", "<=", ">", ">="};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (token_is(t, words[i]))
			return true;
	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (sign_is(t, signs[i]))
			return true;
	return false;
}

/* `x IN (SELECT …)`, where x compares nothing, so that IN is what the whole operand says. 0: it is none. */
static size_t find_in_select(const struct parse *p, struct span s)
{
	size_t i = s.from;
	while (i < s.to && !compares(&p->t->at[i]))
		i = step(p, i);
	bool is = i > s.from && i < s.to && at_is(p, i, "IN") && at_sign(p, i + 1, "(") &&
		at_is(p, i + 2, "SELECT") && p->t->at[i + 1].match + 1 == s.to &&
		!has_select(p, (struct span){s.from, i});
	return is ? i : 0;
}

static void take_equal(struct parse *p, struct span s)
{
	struct rule_equal equal;
	struct str table;
	if (p->l && !p->r->equal.column.n && equal_of(p, s, &table, &equal) &&
		(!table.n || same_name(table, p->l->table)) &&
		layout_find(p->l, equal.column) != SIZE_MAX)
		p->r->equal = equal;
}

static enum err read_operand(struct parse *p, struct span s, bool always)
{
	const struct token *t = p->t->at;
	if (s.from == s.to)
		return REFUSE(p, s.from, "here a condition is missing");
	if (sign_is(&t[s.from], "(") && t[s.from].match + 1 == s.to)
		return read_or(p, (struct span){s.from + 1, s.to - 1}, always);
	if (!has_select(p, s)) {
		if (always)
			take_equal(p, s);
		return ERR_OK;
	}
	if (token_is(&t[s.from], "EXISTS") && at_sign(p, s.from + 1, "(") &&
		at_is(p, s.from + 2, "SELECT") && t[s.from + 1].match + 1 == s.to)
		return read_subquery(p, (struct span){s.from + 2, s.to - 1});
	size_t in = find_in_select(p, s);
	if (in)
		return read_subquery(p, (struct span){in + 2, s.to - 1});
	return REFUSE(p, s.from,
		"a subquery stands as EXISTS(SELECT …) or x IN (SELECT …), and only AND and OR go "
		"with it");
}

static enum err read_and(struct parse *p, struct span s, bool always)
{
	for (;;) {
		size_t end = find_and(p, s);
		enum err err = read_operand(p, (struct span){s.from, end}, always);
		if (err || end == s.to)
			return err;
		s.from = end + 1;
	}
}

/* always: it holds of every row for which the whole rule does. */
static enum err read_or(struct parse *p, struct span s, bool always)
{
	bool one = find(p, s, "OR") == s.to;
	for (;;) {
		size_t end = find(p, s, "OR");
		enum err err = read_and(p, (struct span){s.from, end}, always && one);
		if (err || end == s.to)
			return err;
		s.from = end + 1;
	}
}

static enum err read_rule(struct parse *p)
{
	for (size_t i = 0; i < p->t->count; i++) {
		enum err err = check_token(p, i);
		if (err)
			return err;
	}
	return read_or(p, (struct span){0, p->t->count}, true);
}

enum err rule_new(struct str text, const struct layout *l, const struct str *depends,
	size_t depend_count, struct rule **ret_rule, char *ret_why)
{
	struct rule *r = mem_new(struct rule);
	r->own = mem_new(struct rule_private);
	r->own->text = mem_copy(text);
	r->own->names = mem_alloc(text.n * 2 + 1); /* an equality is looked at once, a table once */
	struct parse p = {.r = r,
		.t = &r->own->tokens,
		.l = l,
		.depends = depends,
		.depend_count = l ? depend_count : 0,
		.why = ret_why};
	enum err err = rule_scan((struct str){r->own->text, text.n}, p.t, ret_why);
	if (!err)
		err = read_rule(&p);
	if (err)
		rule_free(&r);
	else
		*ret_rule = r;
	return err;
}

void rule_free(struct rule **r)
{
	if (*r && (*r)->own) {
		free((*r)->own->names);
		free((*r)->own->text);
		free((*r)->own);
	}
	free(*r);
	*r = NULL;
}

/* As SQL. */

static void add_table(const struct rule *r, size_t place, bool wide, bool delta, struct buf *b)
{
	struct str depend = r->places[place].depend;
	if (delta || wide) {
		struct buf name = BUF_INIT(RULE_MAX);
		buf_adds(&name, delta ? STR("_sb_d") : STR("_sb_w"));
		buf_adds(&name, depend);
		buf_adds(b, STR("temp."));
		sql_name(b, buf_str(&name));
		buf_free(&name);
	} else {
		buf_adds(b, STR("main."));
		sql_name(b, depend);
	}
	if (!r->own->places[place].named) {
		buf_adds(b, STR(" AS "));
		buf_adds(b, r->own->tokens.at[r->own->places[place].token].text);
	}
}

void rule_sql(const struct rule *r, enum rule_view view, size_t place, struct buf *b)
{
	const struct tokens *t = &r->own->tokens;
	buf_addc(b, '(');
	for (size_t i = 0, next = 0; i < t->count; i++) {
		if (i)
			buf_addc(b, ' ');
		if (next < r->place_count && r->own->places[next].token == i) {
			add_table(
				r, next, view != RULE_NOW, view == RULE_DELTA && next == place, b);
			next++;
		} else {
			buf_adds(b, t->at[i].text);
		}
	}
	buf_addc(b, ')');
}
