/* reload.h: SIGHUP: the configuration and the certificate are read again, and what can change while the
 * service runs does: at once, on all workers at the same moment, for connections that are there as for
 * those that come. All of it or nothing: what is wrong is logged, and then nothing has changed.
 *
 * Thread: main. */
#pragma once

#include "service/config.h"

/* running: in force since serve_start(), from the same input. */
void reload(struct config *running, const struct config_input *input);
