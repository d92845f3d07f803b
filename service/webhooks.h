/* webhooks.h: brings the events of store/outbox.h to the configured webhooks: posts them, signed
 * (auth/signed_request.h), until each has been taken with a 2xx, in the order of service/webhook_lanes.h.
 * What an event looks like is in docs/WEBHOOKS.md.
 *
 * Each webhook has a home worker, which keeps a part of what waits in memory and asks the store for
 * more. An event is deleted once it was taken; a process that dies before that sends it again, with the
 * same id.
 *
 * Thread: configuring while no worker runs or all are paused; the rest on the workers. */
#pragma once

#include "core/worker.h"
#include "service/config.h"

void webhooks_configure(const struct config *c);
void webhooks_finish(void); /* after the workers */

/* On each worker, once all that a process before has left was told (outbox_begin). */
void webhooks_begin(void);

extern const struct worker_part webhooks_part;
