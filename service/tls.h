/* tls.h: the certificate and key that new TLS connections are shown. Connections keep what they began
 * with.
 *
 * Thread: loaded and put in force by main, before the workers start or while they pause; read by every
 * worker at each handshake. */
#pragma once

#include "core/buf.h"

struct tls_pair;
struct ssl_ctx_st;

/* Reads and checks both files, in PEM. On failure *why holds a sentence for a person. What is loaded
 * but out of date is told in the log only: clients will refuse it, yet it can be replaced. */
enum err tls_pair_load(
	const char *certificate, const char *key, struct tls_pair **ret_pair, struct buf *why);

/* Takes the pair (or NULL, at the end), and frees the one before. */
void tls_pair_use(struct tls_pair **pair);

/* Makes connections of this context, a worker's, show the pair that is in force when they begin. */
void tls_attach(struct ssl_ctx_st *context);
