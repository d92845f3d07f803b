#include "service/cli.h"

#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `signalbox dataset tail`: a line of JSON for each change, with the columns by their names. It asks for page after page,
 * and behind the last one waits at the service for what comes. */

enum { PAGE = 1000, WAIT_S = 20, AGAIN_S = 1, AGAIN_TIMES = 15 };

struct tail {
	json_t *params;
	bool follow;
	int again; /* how often it was told to try later, in a row */
};

static json_t *by_name(const json_t *columns, const json_t *row)
{
	if (!json_is_array(row))
		return json_null();
	json_t *named = json_object();
	size_t i;
	json_t *column;
	json_array_foreach(columns, i, column)
		json_object_set(named, json_string_value(column), json_array_get(row, i));
	return named;
}

static bool print_changes(const json_t *result)
{
	const json_t *columns = json_object_get(result, "columns");
	size_t i;
	json_t *change;
	json_array_foreach(json_object_get(result, "changes"), i, change)
	{
		json_object_set_new(
			change, "row", by_name(columns, json_object_get(change, "row")));
		json_object_set_new(
			change, "old", by_name(columns, json_object_get(change, "old")));
		char *text = json_dumps(change, JSON_COMPACT | JSON_REAL_PRECISION(17));
		bool printed = puts(text) >= 0;
		free(text);
		if (!printed)
			return false;
	}
	return fflush(stdout) == 0;
}

/* Refused for good: said, and false. Else a moment has passed. */
static bool may_ask_again(struct tail *t, const json_t *response)
{
	const char *message = NULL, *reason = NULL;
	int code = 0;
	json_unpack((json_t *)(uintptr_t)response, "{s:{s:i, s:s, s?{s?s}}}", "error", "code",
		&code, "message", &message, "data", "reason", &reason);
	bool later =
		code == err_info(ERR_OVERLOADED)->code && (t->follow || t->again < AGAIN_TIMES);
	if (later && t->again++ == 0)
		fprintf(stderr, "signalbox: the dataset cannot be read now; waiting for it\n");
	if (later) {
		sleep(AGAIN_S);
		return true;
	}
	fprintf(stderr, "signalbox: %s%s%s%s\n", message ? message : "the service did not answer",
		reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
	return false;
}

/* Where to go on. true: nothing is left to print, and nobody follows. */
static bool go_on(struct tail *t, const json_t *result, bool first)
{
	bool from_floor = first && !t->follow && !json_object_get(t->params, "since");
	size_t count = json_array_size(json_object_get(result, "changes"));
	json_object_set(t->params, "since", json_object_get(result, from_floor ? "floor" : "seq"));
	json_object_set(t->params, "epoch", json_object_get(result, "epoch"));
	if (t->follow)
		json_object_set_new(t->params, "wait", json_integer(WAIT_S));
	return !count && !from_floor && !t->follow;
}

int cli_tail(int fd, json_t *params)
{
	struct tail t = {
		.params = params, .follow = !json_is_false(json_object_get(params, "follow"))};
	json_object_del(params, "follow");
	json_object_set_new(params, "limit", json_integer(PAGE));
	bool ended = false, fine = true;
	for (bool first = true; fine && !ended;) {
		json_t *response = cli_call(fd, "dataset.changes", params);
		const json_t *result = json_object_get(response, "result");
		if (result) {
			t.again = 0;
			fine = print_changes(result);
			ended = go_on(&t, result, first);
			first = false;
		} else {
			fine = may_ask_again(&t, response);
		}
		json_decref(response);
	}
	return fine ? EXIT_DONE : EXIT_REFUSED;
}
