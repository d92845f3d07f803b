#include "store/page.h"

#include <inttypes.h>
#include <stdio.h>

static void write_cursor(struct json_out *o, const struct store_value *first)
{
	char number[24];
	if (first->kind == STORE_IS_INT) {
		snprintf(number, sizeof(number), "%" PRId64, first->number);
		json_text(o, "cursor", number);
	} else {
		json_str(o, "cursor", first->bytes);
	}
}

void page_reply(struct store_op *op, size_t rows_max, const char *key,
	void (*write_row)(struct json_out *o, const struct store_op *op, size_t row))
{
	struct call *c = op->context;
	if (op->err) {
		call_refuse(c, op->err);
		return;
	}
	size_t rows = op->rows < rows_max ? op->rows : rows_max;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, key, '[');
	for (size_t i = 0; i < rows; i++)
		write_row(o, op, i);
	json_close(o, ']');
	if (op->rows > rows)
		write_cursor(o, &op->cells[(rows - 1) * op->columns]);
	json_close(o, '}');
	call_reply(c);
}
