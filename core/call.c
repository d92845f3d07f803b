#include "core/call.h"

#include "core/slab.h"
#include "core/worker.h"

#include <assert.h>

enum { REFUSAL_FIELD_MAX = 64 };

static size_t aligned(size_t n)
{
	return (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

/* One block: the call, the params struct, the text of the params, the id. */
enum err call_new_walk(const struct method *method, struct principal *who, struct str id,
	struct str params, struct json_walk walk, struct call **ret_call,
	struct params_problem *ret_problem)
{
	if (!params.n)
		params = STR("{}");
	size_t head = aligned(sizeof(struct call)), middle = aligned(method->params_size);
	size_t size = head + middle + params.n + id.n;
	char *block = slab_take(size);
	char *text = block + head + middle;
	memset(block, 0, head + middle);
	memcpy(text, params.p, params.n);
	enum err err = params_decode_walk((struct str){text, params.n},
		json_walk_moved(walk, params.p, text), method->fields, block + head, ret_problem);
	if (err) {
		/* the field's name may lie in the copy: hand out the one in the caller's text */
		if (ret_problem->field.p >= text && ret_problem->field.p < text + params.n)
			ret_problem->field.p = params.p + (ret_problem->field.p - text);
		slab_give(block, size);
		return err;
	}
	struct call *c = (struct call *)(void *)block;
	c->size = size;
	c->method = method;
	c->who = principal_ref(who);
	c->params = block + head;
	if (id.n)
		memcpy(text + params.n, id.p, id.n);
	c->id = (struct str){text + params.n, id.n};
	*ret_call = c;
	return ERR_OK;
}

void call_free(struct call **call)
{
	struct call *c = *call;
	*call = NULL;
	if (!c)
		return;
	assert(!c->state);
	buf_free(&c->out);
	frame_unref(&c->answer);
	principal_unref(&c->who);
	slab_give(c, c->size);
}

static void run_posted(struct post *p)
{
	struct call *c = (struct call *)p;
	c->method->run(c);
}

static void come_home(struct post *p)
{
	struct call *c = (struct call *)p;
	struct endpoint *e = addr_find(c->from);
	if (e)
		e->ops->answer(e, c);
	else
		call_free(&c);
}

static void go_home(struct call *c)
{
	struct worker *home = worker_at(c->from.worker);
	c->post.run = come_home;
	if (home == worker_self())
		come_home(&c->post);
	else
		worker_post(home, &c->post);
}

static struct str home_name(const struct call *c)
{
	struct str name = *(const struct str *)c->params;
	const char *dot = memchr(name.p, '.', name.n);
	if (c->method->home == HOME_DOMAIN && dot)
		name.n = (size_t)(dot - name.p);
	return name;
}

void call_send(struct call *c, struct endpoint *from)
{
	c->from = from->addr;
	struct worker *self = worker_self();
	struct worker *home = self;
	if (c->method->home != HOME_CALLER)
		home = worker_home(home_name(c));
	from->workers_called |= UINT64_C(1) << home->index;
	c->post.run = run_posted;
	if (home == self)
		c->method->run(c);
	else if (worker_post_call(home, &c->post))
		call_refuse(c, ERR_OVERLOADED);
}

enum err call_travel(struct call *c, struct worker *to)
{
	struct endpoint *from = addr_find(c->from);
	if (from)
		from->workers_called |= UINT64_C(1) << to->index;
	if (to != worker_self())
		return worker_post_call(to, &c->post);
	c->post.run(&c->post);
	return ERR_OK;
}

static void envelope(struct json_out *o, struct str id)
{
	buf_adds(o->b, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
	buf_adds(o->b, id.n ? id : STR("null"));
	o->comma = true;
}

struct json_out *call_result(struct call *c)
{
	assert(!c->out.n);
	c->out = frame_buf();
	c->writer = JSON_OUT(&c->out);
	envelope(&c->writer, c->id);
	buf_adds(&c->out, STR(",\"result\":"));
	c->writer.comma = false;
	return &c->writer;
}

void call_reply(struct call *c)
{
	json_close(&c->writer, '}');
	if (c->out.err) {
		enum err err = c->out.err;
		buf_free(&c->out);
		call_refuse(
			c, err, .message = "The answer would be too large; ask for less of it.");
		return;
	}
	c->outcome = ERR_OK;
	if (c->id.n)
		c->answer = frame_take(&c->out);
	else
		buf_free(&c->out);
	go_home(c);
}

void call_reply_empty(struct call *c)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_close(o, '}');
	call_reply(c);
}

bool call_failed(struct call *c, enum err err, const struct refusal *not_found)
{
	if (err)
		call_fail(c, err, err == ERR_NOT_FOUND ? not_found : &(struct refusal){0});
	return err;
}

void call_error(struct json_out *o, const char *key, enum err err, const struct refusal *why)
{
	const struct err_info *info = err_info(err);
	struct str field = why->field;
	int64_t retry_after = why->retry_after;
	if (err == ERR_OVERLOADED && !retry_after)
		retry_after = OVERLOADED_RETRY_S;
	if (field.n > REFUSAL_FIELD_MAX)
		field.n = REFUSAL_FIELD_MAX;
	json_open(o, key, '{');
	json_int(o, "code", info->code);
	json_text(o, "message", why->message ? why->message : info->text);
	json_open(o, "data", '{');
	json_text(o, "reason", why->reason ? why->reason : info->reason);
	if (field.n)
		json_str(o, "field", field);
	if (retry_after)
		json_int(o, "retry_after", retry_after);
	if (why->limit)
		json_int(o, "limit", why->limit);
	if (why->also.n) {
		buf_addc(o->b, ',');
		buf_adds(o->b, why->also);
	}
	json_close(o, '}');
	json_close(o, '}');
}

void call_error_text(struct json_out *o, struct str id, enum err err, const struct refusal *why)
{
	envelope(o, id);
	call_error(o, "error", err, why);
	json_close(o, '}');
}

void call_fail(struct call *c, enum err err, const struct refusal *why)
{
	c->outcome = err;
	if (c->id.n) {
		buf_free(&c->out);
		c->out = frame_buf();
		struct json_out o = JSON_OUT(&c->out);
		call_error_text(&o, c->id, err, why);
		c->answer = frame_take(&c->out);
	}
	go_home(c);
}

void call_fail_as(struct call *c, int64_t code, struct str message, struct str data)
{
	c->outcome = ERR_INTERNAL;
	if (c->id.n) {
		c->out = frame_buf();
		struct json_out o = JSON_OUT(&c->out);
		envelope(&o, c->id);
		json_open(&o, "error", '{');
		json_int(&o, "code", code);
		json_raw(&o, "message", message);
		if (data.n)
			json_raw(&o, "data", data);
		json_close(&o, '}');
		json_close(&o, '}');
		c->answer = frame_take(&c->out);
	}
	go_home(c);
}

void request_begin(struct event *e, struct str id, const char *method)
{
	e->b = frame_buf();
	e->params = JSON_OUT(&e->b);
	buf_adds(&e->b, STR("{\"jsonrpc\":\"2.0\""));
	e->params.comma = true;
	if (id.n)
		json_str(&e->params, "id", id);
	buf_adds(&e->b, STR(",\"method\":\""));
	buf_adds(&e->b, str_of(method));
	buf_adds(&e->b, STR("\",\"params\":{"));
	e->params.comma = false;
}

void event_begin(struct event *e, const char *method)
{
	request_begin(e, (struct str){0}, method);
}

struct frame *event_take(struct event *e)
{
	e->params.b = &e->b; /* the event may have been moved since */
	json_close(&e->params, '}');
	json_close(&e->params, '}');
	return frame_take(&e->b);
}
