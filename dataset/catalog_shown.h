/* catalog_shown.h: a dataset as it is shown to people (dataset.list, dataset.show). */
#pragma once

#include "dataset/catalog.h"
#include "dataset/definition_text.h"

/* "state", and what the trouble is for those whom it concerns. */
void shown_state(struct json_out *o, const struct dataset_status *s, bool in_full);
/* All that an administrator sees. */
void shown_in_full(struct json_out *o, const struct listed *l);
