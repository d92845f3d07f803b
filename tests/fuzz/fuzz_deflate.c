/* What clients compress, and what they offer. No more comes out than may, what we compress ourselves
 * comes back the same, and terms are such as zlib can keep. */
#include "service/deflate.h"

#include <stdint.h>
#include <stdlib.h>

static void offered(struct str header)
{
	struct deflate_terms terms = deflate_choose(header);
	if (terms.window_bits && (terms.window_bits < 9 || terms.window_bits > 15 || !terms.offers))
		abort();
	struct buf answer = BUF_INIT(128);
	deflate_answer(terms, &answer);
	if (answer.err)
		abort();
	buf_free(&answer);
}

static void there_and_back(struct str message, uint8_t bits)
{
	struct str packed = deflate_message(message, bits), back;
	if (!packed.n)
		return;
	if (packed.n >= message.n || inflate_message(packed, message.n, &back) ||
		!str_eq(back, message))
		abort();
	if (inflate_message(packed, message.n - 1, &back) != ERR_TOO_LARGE)
		abort();
	deflate_forget();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str input = {(const char *)bytes, n}, message;
	size_t max = n ? bytes[0] * 16u : 0;
	if (inflate_message(input, max, &message) == ERR_OK && message.n > max)
		abort();
	offered(input);
	there_and_back(input, (uint8_t)(9 + n % 7));
	return 0;
}
