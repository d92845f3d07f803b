/* quota.h: what one client address (of IPv6: its /64, which is what one customer gets) and one user
 * may use, over all workers.
 *
 * Thread: any. One table for the process behind one mutex: this is no state of the domain that could
 * have a home, a socket's address is counted before there is anything else, and it is touched a few
 * times a connection, not with each message.
 * Limits: QUOTA_REMEMBERED entries for what comes back with time; past it what is new is let pass.
 * What is open now is always counted: sockets and sessions have limits of their own.
 *
 * Addresses are texts (core/ip.h). A trusted proxy's own address is counted and never refused. Those
 * that refuse say why in *ret_why, and in the log (a line a limit in ten seconds). A limit of 0 refuses
 * nobody. */
#pragma once

#include "core/err.h"
#include "core/refusal.h"

enum { QUOTA_REMEMBERED = 65536, QUOTA_CROWD = 64 /* that are refused with a sentence */ };

struct quota_limits {
	bool addresses; /* false: clients' addresses are not known; users only */
	unsigned connections_per_address, unopened_per_address;
	unsigned handshakes_per_second, failed_authentications_per_minute;
	unsigned sessions_per_user, http_requests_per_second;
};

void quota_configure(const struct quota_limits *limits); /* copied; while no worker runs */
void quota_finish(void);                                 /* nothing may be counted: asserted */

/* A socket. Not QUOTA_PACKED: it is counted until quota_disconnect(). */
enum quota_room { QUOTA_ROOM, QUOTA_CROWDED, QUOTA_PACKED };
enum quota_room quota_connect(struct str address);
void quota_disconnect(struct str address);
struct refusal quota_crowded(void); /* what to tell who is QUOTA_CROWDED */

/* A handshake or stream that begins. ERR_RATE_LIMITED. */
enum err quota_handshake(struct str address, struct refusal *ret_why);

/* A connection that has not said who it is: may there be one more (workers that ask at the same
 * moment are told the same), and counting it. ERR_RATE_LIMITED. */
enum err quota_opening(struct str address, struct refusal *ret_why);
void quota_opening_begun(struct str address);
void quota_opening_ended(struct str address);

/* Whether a token from there is looked at, ERR_RATE_LIMITED; and that one was not valid. */
enum err quota_token(struct str address, struct refusal *ret_why);
void quota_token_failed(struct str address);

/* A session of the user, counted when it answers ERR_OK. ERR_FULL. */
enum err quota_session(struct str user, struct refusal *ret_why);
void quota_session_kept(struct str user); /* one that was there before; never refused */
void quota_session_ended(struct str user);

/* So many requests of the user over HTTP. ERR_RATE_LIMITED. */
enum err quota_requests(struct str user, unsigned n, struct refusal *ret_why);
