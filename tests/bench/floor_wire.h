/* floor_wire.h: WebSocket, as far as floor.c speaks it (RFC 6455): the server's side of a handshake, a client's
 * frames, and messages that wait for the end of a turn.
 * Thread: one. Errors: without memory the program ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { FRONT = 16 }; /* bytes before a queue's first message: a frame's header and a bracket */

/* Messages that wait for the end of the turn. joined: with commas between, for an array; else each with
 * its frame's header. */
struct queue {
	char *bytes;
	size_t n, size;
	unsigned messages;
	bool joined;
};

void fail(const char *what);
/* realloc that does not fail. */
void *grown(void *p, size_t n);

/* Room in a queue for a message of n bytes, which the caller writes. */
char *queue_message(struct queue *q, size_t n);
/* All that waits in it, as bytes for the socket: a queue that is joined becomes one frame. */
char *queue_bytes(struct queue *q, size_t *ret_n);
void queue_clear(struct queue *q);

struct frame {
	int opcode;
	char *bytes; /* unmasked, where they came */
	size_t n;
};

/* The frame at the front, and how many bytes it took; 0: it has not come whole. */
size_t frame_take(char *in, size_t n, struct frame *ret);
/* The same for the request to upgrade; the answer to it is written to `answer`. */
size_t upgrade_take(const char *in, size_t n, char *answer, size_t size, size_t *ret_n);
