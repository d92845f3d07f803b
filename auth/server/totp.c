#include "auth/server/totp.h"

#include "core/form.h"

#include <liboath/oath.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <qrencode.h>
#include <stdlib.h>

enum { ADDRESS_MAX = 2048, MARGIN = 4 };

void totp_make(unsigned char out[TOTP_SECRET])
{
	if (RAND_bytes(out, TOTP_SECRET) != 1)
		abort();
}

bool totp_form(struct str typed, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < typed.n; i++) {
		if (typed.p[i] == ' ')
			continue;
		if (typed.p[i] < '0' || typed.p[i] > '9' || n == TOTP_DIGITS)
			return false;
		out[n++] = typed.p[i];
	}
	out[n] = 0;
	return n == TOTP_DIGITS;
}

/* All three are made and compared, whichever it is. */
int64_t totp_step(
	const unsigned char secret[TOTP_SECRET], struct str code, int64_t now, int64_t last_step)
{
	int64_t found = 0;
	for (int64_t step = now / TOTP_STEP - 1; step <= now / TOTP_STEP + 1; step++) {
		char made[TOTP_DIGITS + 1];
		if (oath_totp_generate((const char *)secret, TOTP_SECRET,
			    (time_t)(step * TOTP_STEP), TOTP_STEP, 0, TOTP_DIGITS, made) != OATH_OK)
			continue;
		if (str_eq_secret(str_of(made), code) && step > last_step)
			found = step;
		OPENSSL_cleanse(made, sizeof(made));
	}
	return found;
}

void totp_text(const unsigned char secret[TOTP_SECRET], char out[TOTP_TEXT + 1])
{
	char *text = NULL;
	size_t n = 0;
	if (oath_base32_encode((const char *)secret, TOTP_SECRET, &text, &n) != OATH_OK ||
		n != TOTP_TEXT)
		abort(); /* out of memory */
	memcpy(out, text, n);
	out[n] = 0;
	OPENSSL_cleanse(text, n);
	free(text);
}

/* Percent-encoding; core/form.h writes a space as '+', which a path does not know. */
static void add_escaped(struct buf *b, struct str text)
{
	struct buf form = BUF_INIT(ADDRESS_MAX);
	form_add(&form, "", text);
	for (size_t i = 1; i < form.n; i++)
		if (form.p[i] == '+')
			buf_addf(b, "%%20");
		else
			buf_addc(b, form.p[i]);
	buf_free(&form);
}

static void write_address(struct buf *b, const char *secret, struct str user, struct str place)
{
	buf_addf(b, "otpauth://totp/");
	add_escaped(b, place);
	buf_addc(b, ':');
	add_escaped(b, user);
	buf_addf(b, "?secret=%s&issuer=", secret);
	add_escaped(b, place);
}

/* Black on white in dark pages, too: not every telephone reads the opposite. Modules that stand side
 * by side are one rectangle. */
static void draw(struct buf *b, const QRcode *code)
{
	int size = code->width + 2 * MARGIN;
	buf_addf(b,
		"<svg class=\"code\" role=\"img\" aria-label=\"QR code for an authenticator app\" "
		"viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/><path fill=\"#000\" d=\"",
		size, size, size, size);
	for (int y = 0; y < code->width; y++)
		for (int x = 0, run; x < code->width; x += run) {
			const unsigned char *row = code->data + y * code->width;
			for (run = 1; x + run < code->width && !((row[x] ^ row[x + run]) & 1);)
				run++;
			if (row[x] & 1)
				buf_addf(b, "M%d %dh%dv1h-%dz", x + MARGIN, y + MARGIN, run, run);
		}
	buf_addf(b, "\"/></svg>\n");
}

void totp_add_picture(
	struct buf *b, const unsigned char secret[TOTP_SECRET], struct str user, struct str place)
{
	char text[TOTP_TEXT + 1];
	struct buf address = BUF_INIT(ADDRESS_MAX);
	totp_text(secret, text);
	write_address(&address, text, user, place);
	QRcode *code = address.err ? NULL : QRcode_encodeString8bit(address.p, 0, QR_ECLEVEL_M);
	if (code) /* without it there is still the text */
		draw(b, code);
	QRcode_free(code);
	if (address.p)
		OPENSSL_cleanse(address.p, address.n);
	buf_free(&address);
	OPENSSL_cleanse(text, sizeof(text));
}
