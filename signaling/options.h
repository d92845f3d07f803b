/* options.h: the options in force, for this folder. Read-only while the workers run; any thread. */
#pragma once

#include "signaling/signaling.h"

const struct signaling_options *options(void);
