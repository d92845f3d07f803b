/* ticket.h: what stands in an address in place of a token: good for one connection within half a minute,
 * from the Origin that it was made for. Only its SHA-256 is kept, in this process alone: one that is not
 * used when the service restarts is as unknown as a used one, and its client asks for another.
 *
 * Thread: any worker; one table for all, with a mutex, so that of many who bring the same ticket exactly
 * one gets in. Limits: TICKETS_OF_A_USER that wait for their use, TICKETS_MAX of all. */
#pragma once

#include "core/http.h"
#include "core/principal.h"
#include "core/refusal.h"

enum {
	TICKET_S = 30,
	TICKET_TEXT = 43, /* 32 random bytes in base64url */
	TICKET_ORIGIN_MAX = 512,
	TICKETS_OF_A_USER = 32,
	TICKETS_MAX = 65536,
};

/* Makes one for who made a request with this token. origin n 0: only for who sends none. ret_ticket has
 * room for TICKET_TEXT and a NUL. ERR_RATE_LIMITED, ERR_OVERLOADED with *ret_why. */
enum err ticket_issue(const struct principal *who, struct str origin, char *ret_ticket,
	unsigned *ret_expires_in, struct refusal *ret_why);

/* Who it was made for: the caller has a reference. It is spent, whatever comes of it. NULL: it is
 * unknown, used, too old, its token is over or was withdrawn, or the Origin is another: the caller is
 * told no more than that, the log is. address: for the log. */
struct principal *ticket_use(struct str ticket, struct str origin, struct str address);

void tickets_finish(void); /* after the workers */

/* Who makes a request whose address has a field `ticket`. err: ERR_REQUEST (there is another credential,
 * or another ticket), ERR_UNAUTHENTICATED, ERR_RATE_LIMITED with why; else the caller has a reference to
 * who. */
struct http_ticket {
	enum err err;
	struct principal *who;
	struct refusal why;
};
struct http_ticket http_ticket(const struct http_request *in);

/* POST /v1/tickets */
extern const struct http_route ticket_routes[];
