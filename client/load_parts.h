/* load_parts.h: what load.c, load_wire.c and load_tls.c share. */
#pragma once

#include "client/load.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

enum state { LINK_FREE, LINK_CONNECTING, LINK_TLS, LINK_UPGRADING, LINK_OPEN };

enum { READ_MAX = 256 * 1024, REST_MAX = 16 * 1024 * 1024, FAULT_MAX = 1024, HOST_MAX = 256 };

struct conn {
	struct link link; /* the first, so that one is the other */
	struct load *load;
	enum state state;
	int fd;
	SSL *ssl;
	SSL_SESSION *session; /* of those that were here before it, too */
	bool ready, said_goodbye, dirty, wants_write;
	struct conn *next; /* dirty, or free */
	struct buf out;    /* what leaves at the end of the turn */
	struct buf in;     /* bytes of a frame that is not there whole */
	struct buf part;   /* payload of a message in fragments, or the rest of a stream */
};

struct load {
	const struct dialect *dialect;
	struct load_events events;
	void *context;
	bool tls, resume_tls, ending;
	char host[HOST_MAX], port[8], prefix[HOST_MAX];
	struct sockaddr_storage to;
	socklen_t to_size;
	bool many_addresses; /* it is on this machine: we may come from all of 127.0.0.0/8 */
	SSL_CTX *ctx;
	int epoll;
	struct conn *conns, *dirty, *unused;
	unsigned max, count, ready, open;
	uint64_t opened; /* in all, with those that are gone */
	uint64_t now, ticked;
	unsigned char mask[4];
	char *read; /* READ_MAX and REST_MAX, and a byte more */
	char fault[FAULT_MAX];
};

static inline struct conn *conn_of(struct link *l)
{
	return (struct conn *)l;
}

/* ---- load.c ---- */
void conn_watch(struct conn *c, bool writing); /* changes what epoll tells of it */
void conn_connected(struct conn *c);           /* TLS, where there is any, is through */
void conn_close(struct conn *c);

/* ---- load_wire.c ---- */
void wire_upgrade(struct conn *c);
void wire_goodbye(struct conn *c);
void wire_flush(struct conn *c);
void wire_readable(struct conn *c);

/* ---- load_tls.c ---- */
void tls_prepare(struct load *load, const struct load_target *target);
void tls_finish(struct load *load);
void tls_begin(struct conn *c);
void tls_step(struct conn *c); /* goes on with the handshake */
void tls_end(struct conn *c);
/* As recv() and send() do; -1 with EAGAIN: later. */
ssize_t tls_read(struct conn *c, char *to, size_t n);
ssize_t tls_write(struct conn *c, const char *from, size_t n);
