/* options.h: the options in force, for this folder. Read-only while the workers run; any thread. */
#pragma once

#include "signaling/signaling.h"

const struct signaling_options *options(void);

/* Another number each time that they have changed: for what is worked out from them and kept. */
unsigned options_generation(void);
