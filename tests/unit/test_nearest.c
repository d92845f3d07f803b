/* nearest: the distance against a naive model, and which words are near enough. */
#include "core/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

/* Optimal string alignment by its definition, without a table. */
static unsigned naive(const char *a, size_t i, const char *b, size_t j)
{
	if (!i || !j)
		return (unsigned)(i + j);
	unsigned best = naive(a, i - 1, b, j - 1) + (a[i - 1] != b[j - 1]);
	unsigned other = naive(a, i - 1, b, j) + 1;
	best = other < best ? other : best;
	other = naive(a, i, b, j - 1) + 1;
	best = other < best ? other : best;
	if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
		other = naive(a, i - 2, b, j - 2) + 1;
		best = other < best ? other : best;
	}
	return best;
}

static void as_the_model(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	printf("seed %u\n", seed);
	for (int round = 0; round < 3000; round++) {
		char words[2][8];
		for (int w = 0; w < 2; w++) {
			int n = rand_r(&seed) % 7;
			for (int i = 0; i < n; i++)
				words[w][i] = (char)('a' + rand_r(&seed) % 3);
			words[w][n] = 0;
		}
		unsigned want = naive(words[0], strlen(words[0]), words[1], strlen(words[1]));
		unsigned got = nearest_distance(str_of(words[0]), str_of(words[1]));
		if (got != want)
			fail_msg("%s %s: %u, not %u", words[0], words[1], got, want);
	}
}

static const char *among(const char *wrong)
{
	static const char *const words[] = {"listen", "workers", "behind_proxy", "b", "origins"};
	static char out[32];
	struct nearest n = nearest_to(str_of(wrong));
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		nearest_try(&n, str_of(words[i]));
	snprintf(out, sizeof out, STR_FMT, STR_ARG(n.word));
	return out;
}

static void near_enough(void **state)
{
	(void)state;
	static const char *const cases[][2] = {{"listen", "listen"}, {"lisetn", "listen"},
		{"LISTEN", "listen"}, {"lsn", ""}, {"worker", "workers"}, {"worke", ""},
		{"behind-proxy", "behind_proxy"}, {"behindproxi", "behind_proxy"}, {"a", ""},
		{"B", "b"}, {"", ""}, {"something", ""}, {"or.gins", "origins"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(among(cases[i][0]), cases[i][1]);
}

static void too_long_is_not_near(void **state)
{
	(void)state;
	char word[NEAREST_MAX + 2];
	memset(word, 'x', sizeof word);
	struct nearest n = nearest_to((struct str){word, NEAREST_MAX});
	nearest_try(&n, (struct str){word, NEAREST_MAX + 1});
	assert_int_equal(n.word.n, 0);
	nearest_try(&n, (struct str){word, NEAREST_MAX - 1});
	assert_int_equal(n.word.n, NEAREST_MAX - 1);
	n = nearest_to((struct str){word, NEAREST_MAX + 1});
	nearest_try(&n, (struct str){word, NEAREST_MAX});
	assert_int_equal(n.word.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_model),
		cmocka_unit_test(near_enough),
		cmocka_unit_test(too_long_is_not_near),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
