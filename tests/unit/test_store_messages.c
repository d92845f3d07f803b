/* store: the verbs of kept histories, held against a list: offsets, keys, changes, pages, and what goes. */
#include "store_fixture.h"

enum { STEPS = 400, MESSAGES_MAX = STEPS + 1, KEYS = 6, DAY_MS = 1000, SLICE = 7 };

struct said {
	char user, data[24]; /* data "": there is none */
	int64_t at, edits, redacts, edited_at;
	bool redacted;
};

static struct said all[MESSAGES_MAX + 1]; /* by offset */
static int64_t top, gone, now;            /* the newest; the newest that is not kept any more */
static struct {
	int64_t offset, at;
} keys[2][KEYS];
static int64_t history;

static struct store_value blob(const char *data)
{
	return data ? STORE_BLOB(str_of(data)) : STORE_NULL;
}

static void begin(void)
{
	memset(all, 0, sizeof(all));
	memset(keys, 0, sizeof(keys));
	top = gone = 0;
	now = 10000;
	struct store_op *op = store_ask_now(STORE_ROOM_ADD, STORE_TEXT(STR("r")), STORE_NULL,
		STORE_TEXT(STR("ann")), STORE_TEXT(STR("public")), STORE_NULL, STORE_NULL,
		STORE_INT(1), STORE_INT(0), STORE_NULL, STORE_NULL, STORE_NULL, STORE_END);
	assert_int_equal(op->err, ERR_OK);
	int64_t room = store_int(op, 0, 0);
	store_op_free(&op);
	op = store_ask_now(STORE_HISTORY_ADD, STORE_INT(room), STORE_TEXT(STR("epochepochep")),
		STORE_INT(0), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	history = store_int(op, 0, 0);
	store_op_free(&op);
}

static struct said *say(char user, const char *data)
{
	struct said *m = &all[++top];
	*m = (struct said){.user = user, .at = now};
	snprintf(m->data, sizeof(m->data), "%s", data);
	return m;
}

#define message(user, data) \
	STORE_INT(history), STORE_TEXT(((struct str){&(user), 1})), STORE_NULL, blob(data), \
		STORE_INT(now)

static void expect_offset(struct store_op *op, enum err err, int64_t offset)
{
	assert_int_equal(op->err, err);
	if (!err)
		assert_int_equal(store_int(op, 0, 0), offset);
	store_op_free(&op);
}

static void publish(char user, const char *data)
{
	say(user, data);
	expect_offset(
		store_ask_now(STORE_MESSAGE_ADD, message(user, data), STORE_END), ERR_OK, top);
}

static void publish_once(char user, const char *data, int key)
{
	char name[8];
	snprintf(name, sizeof(name), "k%d", key);
	bool known = keys[user == 'b'][key].at > now - DAY_MS;
	if (!known) {
		say(user, data);
		keys[user == 'b'][key].offset = top;
		keys[user == 'b'][key].at = now;
	}
	expect_offset(store_ask_now(STORE_MESSAGE_ADD_ONCE, message(user, data),
			      STORE_TEXT(str_of(name)), STORE_INT(now - DAY_MS), STORE_END),
		known ? ERR_CONFLICT : ERR_OK, top);
	expect_offset(
		store_ask_now(STORE_MESSAGE_OF_KEY, STORE_INT(history),
			STORE_TEXT(((struct str){&user, 1})), STORE_TEXT(str_of(name)), STORE_END),
		ERR_OK, keys[user == 'b'][key].offset);
}

static bool can_change(int64_t offset)
{
	const struct said *m = &all[offset];
	return offset > gone && offset <= top && !m->edits && !m->redacts && !m->redacted;
}

static void edit(char user, int64_t offset, const char *data)
{
	bool can = can_change(offset) && all[offset].user == user;
	if (can) {
		snprintf(all[offset].data, sizeof(all[offset].data), "%s", data);
		all[offset].edited_at = now;
		say(user, data)->edits = offset;
	}
	expect_offset(store_ask_now(STORE_MESSAGE_EDIT, message(user, data), STORE_INT(offset),
			      STORE_END),
		can ? ERR_OK : ERR_NOT_FOUND, top);
}

static void redact(char user, int64_t offset, bool anybody)
{
	const char *none = NULL;
	bool can = can_change(offset) && (anybody || all[offset].user == user);
	for (int64_t i = gone + 1; offset <= gone && i <= top; i++) /* its edits may be left */
		can |= all[i].edits == offset && !all[i].redacted &&
			(anybody || all[i].user == user);
	for (int64_t i = 1; can && i <= top; i++)
		if (i == offset || all[i].edits == offset) {
			all[i].data[0] = 0;
			all[i].edited_at = 0;
			all[i].redacted = true;
		}
	if (can)
		say(user, "")->redacts = offset;
	expect_offset(store_ask_now(STORE_MESSAGE_REDACT, message(user, none), STORE_INT(offset),
			      STORE_INT(anybody), STORE_END),
		can ? ERR_OK : ERR_NOT_FOUND, top);
}

static void prune(int64_t upto, int64_t before)
{
	struct store_op *op =
		store_ask_now(STORE_MESSAGES_PRUNE, STORE_INT(history), STORE_INT(upto),
			STORE_INT(before), STORE_INT(SLICE), STORE_INT(1 << 20), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	int64_t rows = 0;
	for (int64_t i = gone + 1; i <= top && i <= gone + SLICE; i++)
		if (i <= upto || all[i].at < before)
			rows = i - gone;
	assert_int_equal(op->rows, rows);
	gone += rows;
	store_op_free(&op);
}

static void same(const struct store_op *op, size_t row, int64_t offset)
{
	const struct said *m = &all[offset];
	assert_int_equal(store_int(op, row, 0), offset);
	assert_int_equal(store_int(op, row, 1), m->at);
	assert_int_equal(*store_str(op, row, 2).p, m->user);
	assert_true(str_eq(store_str(op, row, 4), str_of(m->data)));
	assert_int_equal(store_int(op, row, 5), m->edits);
	assert_int_equal(store_int(op, row, 6), m->redacts);
	assert_int_equal(store_int(op, row, 7), m->edited_at);
	assert_int_equal(store_int(op, row, 8), m->redacted);
}

/* The page is what the list says, and ends where the rows or the bytes do. */
static void read_pages(void)
{
	int64_t from = rand() % (top + 3), most = 1 + rand() % 12, bytes = 24 + rand() % 60;
	int64_t upto = rand() % 2 ? top : rand() % (top + 1);
	struct store_op *op = store_ask_now(STORE_MESSAGES_AFTER, STORE_INT(history),
		STORE_INT(from), STORE_INT(upto), STORE_INT(most), STORE_INT(bytes), STORE_END);
	int64_t at = from > gone ? from : gone, n = 0, used = 0;
	for (; at < upto && n < most; n++) {
		int64_t size = *all[at + 1].data ? (int64_t)strlen(all[at + 1].data) : 4;
		if ((used += size) > bytes)
			break;
		same(op, (size_t)n, ++at);
	}
	assert_int_equal(op->rows, n);
	store_op_free(&op);
	op = store_ask_now(STORE_MESSAGES_BEFORE, STORE_INT(history), STORE_INT(from),
		STORE_INT(most), STORE_INT(bytes), STORE_END);
	at = from < top ? from : top;
	for (n = used = 0; at > gone && n < most; n++) {
		int64_t size = *all[at].data ? (int64_t)strlen(all[at].data) : 4;
		if ((used += size) > bytes)
			break;
		same(op, (size_t)n, at--);
	}
	assert_int_equal(op->rows, n);
	store_op_free(&op);
}

static void step(void)
{
	char user = rand() % 2 ? 'a' : 'b', data[24];
	snprintf(data, sizeof(data), "\"%.*s%d\"", rand() % 12, "............", rand() % 1000);
	int64_t some = 1 + rand() % (top + 2);
	now += rand() % 20;
	switch (rand() % 10) {
	case 0:
	case 1:
		publish_once(user, data, rand() % KEYS);
		break;
	case 2:
		edit(user, some, data);
		break;
	case 3:
		redact(user, some, rand() % 2);
		break;
	case 4:
		prune(rand() % 2 ? top - 40 : 0, now - (rand() % 2 ? 400 : 100000));
		break;
	default:
		publish(user, data);
	}
	read_pages();
}

static void against_a_list(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	begin();
	for (int i = 0; i < STEPS; i++)
		step();
	assert_true(gone > 20 && top > gone);
}

/* A slice is bounded by bytes, too; a history that is over goes when it is empty, and takes nothing. */
static void what_goes_goes_in_slices(void **state)
{
	(void)state;
	static char large[40000];
	char user = 'a';
	memset(large, '1', sizeof(large) - 1);
	open_store(NULL, QUEUE_MAX);
	begin();
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(STORE_MESSAGE_ADD, message(user, large)), ERR_OK);
	assert_int_equal(ask(STORE_HISTORY_END, STORE_INT(history)), ERR_OK);
	assert_int_equal(ask(STORE_MESSAGE_ADD, message(user, "1")), ERR_NOT_FOUND);
	assert_int_equal(
		ask(STORE_MESSAGE_ADD_ONCE, message(user, "1"), STORE_TEXT(STR("k")), STORE_INT(0)),
		ERR_NOT_FOUND);
	assert_int_equal(ask(STORE_MESSAGE_EDIT, message(user, "1"), STORE_INT(1)), ERR_NOT_FOUND);
	int64_t slices = 0, rows = 0;
	for (size_t n = 1; n; slices++) {
		struct store_op *op = store_ask_now(STORE_MESSAGES_PRUNE, STORE_INT(history),
			STORE_INT(INT64_MAX), STORE_INT(0), STORE_INT(100), STORE_INT(90000),
			STORE_END);
		n = op->rows;
		rows += (int64_t)n;
		assert_true(n <= 3);
		store_op_free(&op);
		assert_int_equal(ask(STORE_HISTORY_REMOVE, STORE_INT(history)), ERR_OK);
	}
	assert_int_equal(rows, 10);
	assert_int_equal(slices, 5); /* the last one finds nothing */
	struct store_op *op =
		store_ask_now(STORE_HISTORY_LIST, STORE_INT(0), STORE_INT(10), STORE_END);
	assert_int_equal(op->rows, 0);
	store_op_free(&op);
}

int main(void)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	srand(seed);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(against_a_list, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_goes_goes_in_slices, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
