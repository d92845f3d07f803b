#include "core/params.h"

static enum err problem(struct params_problem *ret, enum err err, struct str field,
	const char *message, int64_t limit)
{
	*ret = (struct params_problem){field, message, limit};
	return err;
}

static enum err decode_string(
	struct str value, const struct field *f, struct str *out, struct params_problem *ret)
{
	struct str name = str_of(f->name);
	if (json_kind(value) != JSON_STRING)
		return problem(ret, ERR_PARAMS, name, "must be a string", 0);
	char *in_place = (char *)(uintptr_t)value.p + 1;
	size_t n = value.n - 2;
	bool plain = str_plain((struct str){in_place, n}) == n;
	if (!plain && json_decode(value, in_place, &n))
		return problem(ret, ERR_PARAMS, name, "holds half a surrogate pair", 0);
	if ((int64_t)n > f->max)
		return problem(ret, ERR_PARAMS, name, "is too long", f->max);
	if ((int64_t)n < f->min)
		return n ? problem(ret, ERR_PARAMS, name, "is too short", f->min)
			 : problem(ret, ERR_PARAMS, name, "must not be empty", 0);
	*out = (struct str){in_place, n};
	if (!plain && str_has_control(*out))
		return problem(ret, ERR_PARAMS, name, "holds a control character", 0);
	return ERR_OK;
}

static enum err decode_raw(struct str value, const struct field *f, enum json_kind wanted,
	const char *message, struct str *out, struct params_problem *ret)
{
	struct str name = str_of(f->name);
	if (wanted != JSON_NONE && json_kind(value) != wanted)
		return problem(ret, ERR_PARAMS, name, message, 0);
	if ((int64_t)value.n > f->max)
		return problem(ret, ERR_TOO_LARGE, name, "is too large", f->max);
	*out = value;
	return ERR_OK;
}

static enum err decode_int(
	struct str value, const struct field *f, struct param_int *out, struct params_problem *ret)
{
	struct str name = str_of(f->name);
	if (json_kind(value) != JSON_NUMBER || json_decode_int(value, &out->n))
		return problem(ret, ERR_PARAMS, name, "must be a whole number", 0);
	if (out->n < f->min)
		return problem(ret, ERR_PARAMS, name, "is too small", f->min);
	if (out->n > f->max)
		return problem(ret, ERR_PARAMS, name, "is too large", f->max);
	out->given = true;
	return ERR_OK;
}

static enum err decode_bool(
	struct str value, const struct field *f, struct param_bool *out, struct params_problem *ret)
{
	enum json_kind kind = json_kind(value);
	if (kind != JSON_TRUE && kind != JSON_FALSE)
		return problem(ret, ERR_PARAMS, str_of(f->name), "must be true or false", 0);
	*out = (struct param_bool){true, kind == JSON_TRUE};
	return ERR_OK;
}

static enum err decode(
	struct str value, const struct field *f, void *out, struct params_problem *ret)
{
	switch (f->type) {
	case FIELD_STRING:
		return decode_string(value, f, out, ret);
	case FIELD_RAW:
		return decode_raw(value, f, JSON_NONE, "", out, ret);
	case FIELD_OBJECT:
		return decode_raw(value, f, JSON_OBJECT, "must be an object", out, ret);
	case FIELD_ARRAY:
		return decode_raw(value, f, JSON_ARRAY, "must be an array", out, ret);
	case FIELD_INT:
		return decode_int(value, f, out, ret);
	case FIELD_BOOL:
		return decode_bool(value, f, out, ret);
	}
	return ERR_INTERNAL;
}

enum err params_decode(struct str object, const struct field *fields, void *out,
	struct params_problem *ret_problem)
{
	return params_decode_walk(object, json_walk(object), fields, out, ret_problem);
}

enum err params_decode_walk(struct str object, struct json_walk w, const struct field *fields,
	void *out, struct params_problem *ret_problem)
{
	if (json_kind(object) != JSON_OBJECT)
		return problem(ret_problem, ERR_PARAMS, STR("params"), "must be an object", 0);
	uint64_t seen = 0;
	struct str key, value;
	while (json_next(&w, &key, &value)) {
		const struct field *f = fields;
		while (f->name && !json_string_is(key, f->name))
			f++;
		if (!f->name)
			return problem(ret_problem, ERR_PARAMS, key, "is not known here", 0);
		uint64_t bit = UINT64_C(1) << (f - fields);
		if (seen & bit)
			return problem(
				ret_problem, ERR_PARAMS, str_of(f->name), "is there twice", 0);
		seen |= bit;
		enum err err = decode(value, f, (char *)out + f->offset, ret_problem);
		if (err)
			return err;
	}
	for (const struct field *f = fields; f->name; f++)
		if (f->required && !(seen & UINT64_C(1) << (f - fields)))
			return problem(ret_problem, ERR_PARAMS, str_of(f->name), "is missing", 0);
	return ERR_OK;
}
