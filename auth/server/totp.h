/* totp.h: one-time codes by time (RFC 6238: SHA-1, 30 seconds, 6 digits, as every authenticator app
 * makes them), and the picture that takes a secret into such an app. Any thread. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum { TOTP_SECRET = 20, TOTP_DIGITS = 6, TOTP_TEXT = 32, TOTP_STEP = 30 };

void totp_make(unsigned char out[TOTP_SECRET]);

/* The step whose code this is, of the step now, the one before and the one behind; 0: none of those
 * past last_step. */
int64_t totp_step(
	const unsigned char secret[TOTP_SECRET], struct str code, int64_t now, int64_t last_step);

/* Whether it looks like one: six digits, spaces between them allowed, which are taken out. out has
 * room for TOTP_DIGITS + 1 bytes. */
bool totp_form(struct str typed, char *out);

/* The secret as people type it: TOTP_TEXT letters of base32 and the NUL. */
void totp_text(const unsigned char secret[TOTP_SECRET], char out[TOTP_TEXT + 1]);

/* Appends a picture (SVG) of the address that an app reads the secret from. */
void totp_add_picture(
	struct buf *b, const unsigned char secret[TOTP_SECRET], struct str user, struct str place);
