#include "auth/check.h"

#include <assert.h>

static const struct {
	const char *word, *asks;
} steps[] = {
#define STEP(name, word, asks) {word, asks},
	CHECK_STEPS(STEP)
#undef STEP
};

const char *check_step_word(enum check_step step)
{
	assert(step < CHECK_STEPS_COUNT);
	return steps[step].word;
}

const char *check_step_asks(enum check_step step)
{
	assert(step < CHECK_STEPS_COUNT);
	return steps[step].asks;
}
