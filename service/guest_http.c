#include "service/guest_http.h"

#include "auth/audit.h"
#include "auth/guesses.h"
#include "auth/server/clients.h"
#include "auth/server/server.h"
#include "core/mem.h"
#include "core/params.h"
#include "service/http_bearer.h"
#include "signaling/invitations.h"
#include "store/users.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

enum { BODY_MAX = 2048, ANSWER_MAX = 16 * 1024, GUEST_CHARS = 22, CLAIMS_MAX = 8192 };

static struct {
	bool issuer;
	int64_t lifetime;
} own;

void guest_http_configure(bool issuer, int64_t lifetime)
{
	own.issuer = issuer;
	own.lifetime = lifetime;
}

struct guest_params {
	struct str invitation, name;
	struct param_bool look;
};

static const struct field fields[] = {
	FIELD(struct guest_params, invitation, STRING, true, 1, INVITATION_TOKEN_MAX),
	FIELD(struct guest_params, name, STRING, false, 1, USER_DISPLAY_NAME_MAX),
	FIELD(struct guest_params, look, BOOL, false, 0, 0),
	{0},
};

/* One request on its way. */
struct coming {
	struct http_exchange *x;
	struct guest_params in; /* in text */
	char user[sizeof("guest:") + GUEST_CHARS];
	int64_t now;
	char text[BODY_MAX];
};

static void free_coming(struct coming *g)
{
	OPENSSL_cleanse(g->text, sizeof(g->text));
	free(g);
}

static void refuse(struct coming *g, enum err err, const struct refusal *why)
{
	http_refuse_why(g->x, err, why);
	free_coming(g);
}
#define REFUSE(g, err, ...) refuse(g, err, &(struct refusal){__VA_ARGS__})

static void refuse_invitation(struct coming *g)
{
	REFUSE(g, ERR_NOT_FOUND, .reason = "no_such_invitation",
		.message = "This invitation is not known, was used up or revoked, or is too old.");
}

static void answer(struct coming *g, int status, struct buf *body)
{
	http_reply_json(g->x, status, body);
	free_coming(g);
}

/* ---- the token ---- */

/* {"signalbox": {"rooms": [ROOM], "roles": {ROOM: ROLE}}}: of a guest these are names, not globs. */
static void write_claims(struct buf *b, struct str room, struct str role)
{
	struct json_out o = JSON_OUT(b);
	json_open(&o, NULL, '{');
	json_open(&o, "signalbox", '{');
	json_open(&o, "rooms", '[');
	json_str(&o, NULL, room);
	json_close(&o, ']');
	buf_adds(b, STR(",\"roles\":{"));
	json_add_string(b, room);
	buf_addc(b, ':');
	json_add_string(b, role);
	buf_addc(b, '}');
	json_close(&o, '}');
	json_close(&o, '}');
}

static enum err mint(const struct coming *g, struct str id, struct str room, struct str role,
	struct buf *ret_token)
{
	char sid[INVITATION_SID_MAX];
	struct buf claims = BUF_INIT(CLAIMS_MAX);
	write_claims(&claims, room, role);
	enum err err = claims.err;
	if (!err)
		err = issuer_mint(&(struct mint_request){.user = str_of(g->user),
					  .client = STR(CLIENT_GUESTS),
					  .name = g->in.name,
					  .scope = str_of(scope_word(SCOPE_ROOMS_JOIN)),
					  .claims = buf_str(&claims),
					  .sid = invitation_sid(id, sid),
					  .issued_at = g->now,
					  .lifetime = own.lifetime},
			ret_token);
	buf_free(&claims);
	return err;
}

static void let_in(struct coming *g, struct str id, struct str room, struct str role)
{
	struct buf token = BUF_INIT(TOKEN_MAX_BYTES), detail = BUF_INIT(1024),
		   b = BUF_INIT(ANSWER_MAX);
	enum err err = mint(g, id, room, role, &token);
	if (err) {
		REFUSE(g, ERR_INTERNAL, 0);
	} else {
		buf_addf(&detail, "room=" STR_FMT " invitation=" STR_FMT, STR_ARG(room),
			STR_ARG(id));
		audit_add(.action = "guest", .actor = str_of(g->user), .user = str_of(g->user),
			.address = g->x->in.peer, .detail = buf_str(&detail));
		struct json_out o = JSON_OUT(&b);
		json_open(&o, NULL, '{');
		json_str(&o, "access_token", buf_str(&token));
		json_text(&o, "token_type", "Bearer");
		json_int(&o, "expires_in", own.lifetime);
		json_text(&o, "user", g->user);
		json_str(&o, "room", room);
		json_close(&o, '}');
		answer(g, 201, &b);
		OPENSSL_cleanse(token.p, token.n);
	}
	buf_free(&detail);
	buf_free(&token);
}

/* Columns: the invitation, its role, its room. */
static void taken(struct store_op *op)
{
	struct coming *g = op->context;
	if (op->err == ERR_NOT_FOUND)
		refuse_invitation(g); /* somebody was faster */
	else if (op->err)
		REFUSE(g, op->err, 0);
	else
		let_in(g, store_str(op, 0, 0), store_str(op, 0, 2), store_str(op, 0, 1));
}

static void take(struct coming *g)
{
	unsigned char hash[SECRET_HASH];
	char random[SECRET_TEXT + 1];
	secret_make(random);
	snprintf(g->user, sizeof(g->user), "guest:%.*s", GUEST_CHARS, random);
	secret_hash(g->in.invitation, hash);
	store_ask(STORE_ROOM_INVITATION_GUEST, taken, g, STORE_HASH(hash),
		STORE_TEXT(str_of(g->user)), STORE_INT(g->now), STORE_INT(g->now + own.lifetime),
		STORE_END);
}

/* ---- the invitation ---- */

static void show(struct coming *g, const struct invitation *i)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_str(&o, "room", i->room);
	json_str_if(&o, "title", i->title);
	json_bool(&o, "guests", i->guests);
	json_close(&o, '}');
	answer(g, 200, &b);
}

static void found(struct store_op *op)
{
	struct coming *g = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		REFUSE(g, op->err, 0);
		return;
	}
	struct invitation i = {0};
	if (!op->err)
		i = invitation_of_row(op);
	if (!i.uses_left) {
		refuse_invitation(g);
		return;
	}
	guess_right(STR(""), g->x->in.peer);
	if (g->in.look.yes)
		show(g, &i);
	else if (!i.guests)
		REFUSE(g, ERR_FORBIDDEN, .reason = "no_guests",
			.message = "This invitation is for people with an account: sign in, then "
				   "invitation.accept.");
	else
		take(g);
}

static void look(struct coming *g)
{
	unsigned char hash[SECRET_HASH];
	int64_t wait = guess_take(STR(""), g->x->in.peer);
	if (wait) {
		REFUSE(g, ERR_RATE_LIMITED, .reason = "too_many_failures", .retry_after = wait,
			.message = "Too many invitations that are none; wait a while.");
		return;
	}
	secret_hash(g->in.invitation, hash);
	store_ask(STORE_ROOM_INVITATION_GET, found, g, STORE_HASH(hash), STORE_TEXT(STR("")),
		STORE_INT(g->now), STORE_END);
}

/* ---- the request ---- */

static const char form[] = "The body is {\"invitation\": …, \"name\": …}.";

/* False: answered with a refusal. */
static bool read_body(struct coming *g)
{
	struct str body = json_trim(g->x->in.body);
	struct params_problem problem = {0};
	if (body.n > sizeof(g->text) || json_check(body, NULL) || json_kind(body) != JSON_OBJECT) {
		REFUSE(g, ERR_PARSE, .message = form);
		return false;
	}
	memcpy(g->text, body.p, body.n);
	body.p = g->text;
	enum err err = params_decode(body, fields, &g->in, &problem);
	bool named = g->in.look.yes || user_display_name_valid(g->in.name);
	if (!err && named)
		return true;
	if (err)
		REFUSE(g, err, .field = problem.field, .limit = problem.limit, .message = form);
	else
		REFUSE(g, ERR_PARAMS, .field = STR("name"), .message = USER_DISPLAY_NAME_RULE);
	return false;
}

static void serve(struct http_exchange *x)
{
	if (x->in.query.n) {
		http_refuse(x, ERR_REQUEST, .message = "Nothing is taken in the address here.");
		return;
	}
	if (!own.issuer) {
		http_refuse(x, ERR_FORBIDDEN, .reason = "guests_off",
			.message = "This service makes no tokens, so guests cannot come in.");
		return;
	}
	struct coming *g = mem_new(struct coming);
	g->x = x;
	g->now = time(NULL);
	if (read_body(g))
		look(g);
}

const struct http_route guest_routes[] = {
	{.path = "/v1/guests",
		.verbs = HTTP_POST,
		.serve = serve,
		.body_max = BODY_MAX,
		.cors = HTTP_CORS_LISTED},
	{0},
};
