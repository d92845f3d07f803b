/* datasets.h: the datasets of the configuration, as dataset/ takes them. Thread: main. */
#pragma once

#include "dataset/definition.h"
#include "service/config.h"

/* With one reference. A path that does not begin at the root begins where the process runs. */
struct definition *config_definition(const struct config_dataset *from);

/* Hands dataset/ all that the configuration says of it: at the start, and while the workers pause. */
void datasets_configure(const struct config *c);
/* Around all that: what the demo needs, in a process that listens. */
void datasets_begin(const struct config *c);
void datasets_finish(void);
