/* Any bytes as a JSON-RPC message: the envelope of a request, of each element of a batch, and its
 * params by a table of fields of every type. */
#include "core/mem.h"
#include "core/params.h"
#include "service/dispatch.h"

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

struct everything {
	struct str room, data, metadata, list;
	struct param_int limit;
	struct param_bool batch;
};

static const struct field fields[] = {
	FIELD(struct everything, room, STRING, true, 1, 255),
	FIELD(struct everything, data, RAW, false, 0, 64),
	FIELD(struct everything, metadata, OBJECT, false, 0, 64),
	FIELD(struct everything, list, ARRAY, false, 0, 64),
	FIELD(struct everything, limit, INT, false, 1, 100),
	FIELD(struct everything, batch, BOOL, false, 0, 0),
	{0},
};

static void read_params(struct str params)
{
	struct everything out = {0};
	struct params_problem problem = {0};
	char *text = mem_copy(params);
	enum err err = params_decode((struct str){text, params.n}, fields, &out, &problem);
	if (err) {
		MUST(err == ERR_PARAMS || err == ERR_TOO_LARGE);
		MUST(problem.message);
	} else {
		MUST(out.room.n >= 1 && out.room.n <= 255 && str_utf8_valid(out.room));
		MUST(!str_has_control(out.room));
		MUST(out.data.n <= 64 && (!out.data.n || !json_check(out.data, NULL)));
		MUST(!out.limit.given || (out.limit.n >= 1 && out.limit.n <= 100));
	}
	free(text);
}

static void same_span(struct str a, struct str b)
{
	MUST(a.n == b.n && (!a.n || a.p == b.p));
}

/* With what a check has noted, an envelope says the same. */
static void read_noted(struct str object)
{
	struct json_outline outline;
	MUST(json_check_outline(object, NULL, &outline) == ERR_OK);
	struct envelope e = envelope_read(object, NULL), noted = envelope_read(object, &outline);
	MUST(e.err == noted.err && e.why == noted.why && e.response == noted.response);
	same_span(e.id, noted.id);
	same_span(e.method, noted.method);
	same_span(e.params, noted.params);
	same_span(e.result, noted.result);
	same_span(e.error, noted.error);
}

static void read_request(struct str object)
{
	struct envelope e = envelope_read(object, NULL);
	read_noted(object);
	struct refusal why = {.message = e.why, .field = e.method};
	struct frame *f = error_frame(e.id, e.err ? e.err : ERR_METHOD, &why);
	MUST(json_check(frame_str(f), NULL) == ERR_OK);
	frame_unref(&f);
	if (e.err) {
		MUST(e.why);
	} else if (!e.response) {
		MUST(e.method.p);
		if (e.params.n)
			read_params(e.params);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct str text = {(const char *)bytes, size};
	if (json_check(text, NULL))
		return 0;
	text = json_trim(text);
	read_request(text);
	if (json_kind(text) != JSON_ARRAY)
		return 0;
	struct str item;
	for (struct json_walk w = json_walk(text); json_next(&w, NULL, &item);)
		read_request(item);
	return 0;
}
