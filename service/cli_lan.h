/* cli_lan.h: `serve --lan`: for the other devices in this network, with a certificate of its own and an
 * address that a telephone can read off the terminal.
 *
 * Thread: main. */
#pragma once

#include "core/buf.h"
#include "service/config.h"

struct lan;

/* Is argv[0] `--lan` or `--lan=ADDRESS[:PORT]`? *ret_address is then what stands behind "=", or NULL. */
bool lan_option(const char *argument, const char **ret_address);

/* Finds the address (NULL: that by which other machines see this one), makes the certificate in the data
 * directory, and turns the input into one whose options come first: server.listen, tls.* and issuer.url,
 * so that options of the person still have the last word. Both live until lan_free(). On failure *why
 * holds a sentence for a person. */
enum err lan_prepare(
	const char *address, struct config_input *input, struct lan **ret_lan, struct buf *why);

/* Says where it is, with a QR code, and how to know the certificate again. */
void lan_greet(const struct lan *lan, const struct config *config);

void lan_free(struct lan **lan);
