/* nearest.h: the word somebody probably meant, for "did you mean …?".
 *
 *   struct nearest n = nearest_to(wrong);
 *   for (each word) nearest_try(&n, word);
 *   if (n.word.n) …
 *
 * Only a word that is near enough is taken: about one slip in three letters, three at most. Case,
 * and which of "-", "_" and "." stands between words, make no difference.
 * Any thread; allocates nothing. What is longer than NEAREST_MAX bytes has no near word. */
#pragma once

#include "core/str.h"

enum { NEAREST_MAX = 64 };

struct nearest {
	struct str wrong;
	struct str word; /* the nearest so far, or empty; of equally near ones the first */
	unsigned limit;  /* a word must be nearer than this */
};

struct nearest nearest_to(struct str wrong);
void nearest_try(struct nearest *n, struct str word); /* the word is not copied */

/* How many letters must be put in, taken out, changed or swapped with their neighbour. Neither is
 * longer than NEAREST_MAX. */
unsigned nearest_distance(struct str a, struct str b);
