#include "service/session.h"

#include "core/mem.h"
#include "service/session_open.h"

const struct field session_open_fields[] = {
	FIELD(struct session_open_params, token, STRING, false, 1, 8192),
	FIELD(struct session_open_params, batch, BOOL, false, 0, 0),
	FIELD(struct session_open_params, client, OBJECT, false, 0, 1024),
	FIELD(struct session_open_params, resume, OBJECT, false, 0, 1024),
	{0},
};

struct client_params {
	struct str name, version;
};

static const struct field client_fields[] = {
	FIELD(struct client_params, name, STRING, true, 1, 64),
	FIELD(struct client_params, version, STRING, false, 1, 64),
	{0},
};

struct resume_params {
	struct str session;
	struct param_int received;
};

static const struct field resume_fields[] = {
	FIELD(struct resume_params, session, STRING, true, 1, 128),
	FIELD(struct resume_params, received, INT, true, 0, INT64_MAX),
	{0},
};

void session_request_name(struct session_request *r, struct str id)
{
	free((char *)(uintptr_t)r->id.p);
	r->id = (struct str){mem_copy(id), id.n};
}

static enum err nested(
	struct str object, const struct field *fields, void *out, struct params_problem *problem)
{
	return object.n ? params_decode(object, fields, out, problem) : ERR_OK;
}

enum err session_request_read(struct session_request *r, struct str params, struct str *ret_token,
	struct params_problem *ret_problem)
{
	struct session_open_params p = {0};
	struct client_params client = {0};
	struct resume_params resume = {0};
	free(r->text);
	r->text = mem_copy(params.n ? params : STR("{}"));
	enum err err = params_decode(str_of(r->text), session_open_fields, &p, ret_problem);
	if (!err)
		err = nested(p.client, client_fields, &client, ret_problem);
	if (!err)
		err = nested(p.resume, resume_fields, &resume, ret_problem);
	if (err)
		return err;
	*ret_token = p.token;
	r->batch = p.batch.yes;
	if (p.resume.n)
		session_request_resume(r, resume.session, (uint64_t)resume.received.n);
	return ERR_OK;
}

void session_request_resume(struct session_request *r, struct str session, uint64_t received)
{
	/* a longer one is nobody's: cut, it is still nobody's */
	size_t n = session.n < SESSION_ID_MAX ? session.n : SESSION_ID_MAX - 1;
	memcpy(r->session, session.p, n);
	r->session[n] = 0;
	r->received = received;
	r->resumes = true;
}

struct session_request session_request_copy(const struct session_request *from)
{
	struct session_request r = *from;
	if (from->id.n)
		r.id = (struct str){mem_copy(from->id), from->id.n};
	r.text = NULL;
	return r;
}

void session_request_free(struct session_request *r)
{
	free((char *)(uintptr_t)r->id.p);
	free(r->text);
	*r = (struct session_request){0};
}
