/* Any bytes as a configuration file: refused with words, or shown as what reads back the same. */
#include "service/config_parts.h"

#include <stdlib.h>

static enum err load(struct str text, struct config **ret_config, struct buf *errors)
{
	struct config_input input = {.text = &text};
	return config_load(&input, ret_config, errors);
}

static void reads_back(const struct config *config)
{
	struct config *again = NULL;
	struct buf text = BUF_INIT(4 << 20), second = BUF_INIT(4 << 20), errors = BUF_INIT(65536);
	config_render(config, false, &text);
	if (text.err || load(buf_str(&text), &again, &errors))
		abort();
	config_render(again, false, &second);
	if (!str_eq(buf_str(&text), buf_str(&second)))
		abort();
	config_free(&again);
	buf_free(&text);
	buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	enum err err = load((struct str){(const char *)bytes, n}, &config, &errors);
	if ((err == ERR_OK) != (errors.n == 0) || errors.err || !str_utf8_valid(buf_str(&errors)))
		abort();
	if (config)
		reads_back(config);
	config_free(&config);
	buf_free(&errors);
	return 0;
}
