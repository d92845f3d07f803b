/* template.h: which template of the configuration applies to a room's name, and what it says. A
 * template gives defaults to rooms of its names, and is the most that they may ask for.
 * Any thread, while options do not change; a template is good until they do. */
#pragma once

#include "core/principal.h"
#include "signaling/signaling.h"

/* The first whose names match; never NULL: without one, what holds for any room. */
const struct room_template *template_of(struct str name);

/* Whether this caller, who has the scope rooms:create, may make rooms of these names. */
bool template_lets_create(const struct room_template *t, const struct principal *who);

/* Whether a join may make the room, by whoever may create it. */
bool template_is_ephemeral(const struct room_template *t, struct str name);
