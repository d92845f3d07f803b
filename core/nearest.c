#include "core/nearest.h"

#include <assert.h>

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c == '-' || c == '.' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment, three rows of the matrix at a time. */
unsigned nearest_distance(struct str a, struct str b)
{
	unsigned rows[3][NEAREST_MAX + 1];
	assert(a.n <= NEAREST_MAX && b.n <= NEAREST_MAX);
	for (unsigned j = 0; j <= b.n; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i - 1) % 3];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			bool same = fold(a.p[i - 1]) == fold(b.p[j - 1]);
			row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && fold(a.p[i - 1]) == fold(b.p[j - 2]) &&
				fold(a.p[i - 2]) == fold(b.p[j - 1]))
				row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
		}
	}
	return rows[a.n % 3][b.n];
}

struct nearest nearest_to(struct str wrong)
{
	unsigned slips = wrong.n < 2 ? 0 : wrong.n < 6 ? 1 : wrong.n < 9 ? 2 : 3;
	return (struct nearest){.wrong = wrong, .limit = slips + 1};
}

void nearest_try(struct nearest *n, struct str word)
{
	if (n->wrong.n > NEAREST_MAX || word.n > NEAREST_MAX)
		return;
	unsigned distance = nearest_distance(n->wrong, word);
	if (distance < n->limit) {
		n->limit = distance;
		n->word = word;
	}
}
