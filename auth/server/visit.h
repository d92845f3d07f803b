/* visit.h: a request to a page of our own (/oauth/account and those below, /oauth/device) by somebody
 * who is signed in with this browser. Whoever is not is sent to sign in first, and comes back.
 *
 * Thread: the exchange's worker. A step ends by answering the exchange (visit_leave() first, or
 * visit_end() behind a page), or by handing the visit to the next one. */
#pragma once

#include "auth/password.h"
#include "auth/server/authorize.h"

enum { VISIT_FIELDS = 6 };

struct visit {
	struct http_exchange *x;
	void (*next)(struct visit *v);
	enum own_page page;
	/* who is signed in */
	char user[USER_NAME_MAX + 1];
	int64_t auth_time;
	unsigned char login[SECRET_HASH];
	/* of a form */
	struct posted posted;
	struct str fields[VISIT_FIELDS];
	bool ours; /* it is a form of ours */
	/* a step's own */
	int64_t step;
	struct str text;
	char *kept;
	password_done *password_checked; /* of visit_check_password() */
	struct str password;
};

/* The fields of a form by these names are read (the list ends with NULL), then who is signed in is
 * looked up, then next(). */
void visit_begin(struct http_exchange *x, enum own_page page, const char *const *fields,
	void (*next)(struct visit *v));

struct http_exchange *visit_leave(struct visit **v);

/* Ends a page that was written for it. */
void visit_end(struct visit *v, int status, struct buf *b);

/* Whether the password was given so lately that something grave may be changed. Otherwise the person
 * has been sent to sign in again, and the visit is over. */
bool visit_is_fresh(struct visit *v);

/* Looks at the password of who is signed in; done() has the visit. */
void visit_check_password(struct visit *v, struct str password, password_done *done);

/* Begins a form of the page. */
void visit_form(struct visit *v, struct buf *b, const char *action);

struct store_value visit_login(const struct visit *v);
void visit_audit(const struct visit *v, const char *action, const char *outcome, struct str detail);
void visit_audit_client(
	const struct visit *v, const char *action, const char *outcome, struct str client);
void visit_fail(struct visit *v);
