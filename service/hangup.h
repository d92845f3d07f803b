/* hangup.h: tells when the other end of a connection speaks or leaves while nobody reads from it.
 * libwebsockets does not look at what comes in while an HTTP answer is under way, not even at its
 * end, and would be woken for it over and over; a set of descriptors of our own is (epoll(7)).
 *
 * Thread: one set a worker, used on it. */
#pragma once

#include <uv.h>

/* heard: called once for each that is watched, with what it is watched for. */
void hangup_start(uv_loop_t *loop, void (*heard)(void *what));
void hangup_stop(void); /* what is still watched is forgotten */

void hangup_watch(int fd, void *what);
void hangup_forget(int fd); /* also when heard() was called; before fd is closed */
