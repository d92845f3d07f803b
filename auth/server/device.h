/* device.h: tokens for devices that nobody can type on (RFC 8628): the device shows a user code, and
 * somebody enters it at /oauth/device in a browser of their own and says yes or no. The device asks
 * the token endpoint meanwhile.
 *
 * Codes live for DEVICE_CODE_LIFETIME and are kept as hashes. Who looks for a user code (the pages)
 * bounds how often anybody may guess. Thread: the exchange's worker; user codes: any. */
#pragma once

#include "auth/server/client_request.h"

enum {
	DEVICE_CODE_LIFETIME = 600, /* seconds */
	DEVICE_INTERVAL = 5,        /* seconds between two questions of a device */
	DEVICE_WAITING_MAX = 20,    /* codes that one client address may have waiting */
	DEVICE_CODES_MAX =
		20000, /* codes in all, those that ran out within the last hour as well */
	USER_CODE_LETTERS = 8,
	USER_CODE_SHOWN = USER_CODE_LETTERS + 1, /* "BCDF-GHJK" */
};

/* What somebody typed, in any case, with whatever stands between the letters, as the letters alone.
 * False: that is no user code. */
bool user_code_read(struct str typed, char ret_letters[USER_CODE_LETTERS + 1]);
/* As people read it. */
void user_code_show(const char letters[USER_CODE_LETTERS + 1], char out[USER_CODE_SHOWN + 1]);
/* As the store knows it (STORE_DEVICE_FIND, _APPROVE, _DENY). */
void user_code_hash(const char letters[USER_CODE_LETTERS + 1], unsigned char out[SECRET_HASH]);

/* POST /oauth/device_authorization */
void serve_device_authorization(struct http_exchange *x);
