#include "service/cli.h"

#include "auth/jws.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- token inspect ---- */

static void print_json(const char *title, struct str text)
{
	json_t *value = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
	char *pretty = value ? json_dumps(value, JSON_INDENT(2)) : NULL;
	printf("%s %s\n", title, pretty ? pretty : "(not JSON)");
	free(pretty);
	json_decref(value);
}

/* The segment before the next dot, decoded; false: not base64url. */
static bool decode_segment(struct str *rest, char *out, struct str *ret)
{
	const char *dot = memchr(rest->p, '.', rest->n);
	struct str segment = {rest->p, dot ? (size_t)(dot - rest->p) : rest->n};
	size_t step = segment.n + (dot ? 1 : 0), n = 0;
	rest->p += step;
	rest->n -= step;
	if (b64url_decode(segment, (unsigned char *)out, &n))
		return false;
	*ret = (struct str){out, n};
	return true;
}

int cli_token_inspect(int argc, char **argv)
{
	if (argc > 2) {
		bool asked = strcmp(argv[2], "--help") == 0;
		fprintf(asked ? stdout : stderr,
			"usage: signalbox token inspect <TOKEN\n\nShows header and claims of the "
			"token on standard input. Nothing is checked.\n");
		return asked ? EXIT_DONE : EXIT_USAGE;
	}
	char *text = cli_read_input(JWS_MAX);
	if (!text)
		return EXIT_REFUSED;
	char header[B64URL_BYTES(JWS_MAX)], payload[B64URL_BYTES(JWS_MAX)];
	struct str rest = {text, strlen(text)}, h, p;
	bool fine = jws_form(rest) && decode_segment(&rest, header, &h) &&
		decode_segment(&rest, payload, &p);
	if (fine) {
		print_json("header", h);
		print_json("claims", p);
		printf("Not checked: `signalbox token verify` does that.\n");
	} else {
		fprintf(stderr,
			"signalbox: this is not a JWT: three parts of base64url with dots "
			"between them\n");
	}
	free(text);
	return fine ? EXIT_DONE : EXIT_REFUSED;
}

/* ---- token verify --explain ---- */

static void print_step(const json_t *step)
{
	const char *found = json_string_value(json_object_get(step, "found"));
	const char *wanted = json_string_value(json_object_get(step, "wanted"));
	const char *why = json_string_value(json_object_get(step, "why"));
	bool passed = json_is_true(json_object_get(step, "passed"));
	printf("%-4s %-10s %s\n", passed ? "ok" : "NO",
		json_string_value(json_object_get(step, "step")),
		json_string_value(json_object_get(step, "asks")));
	if (found)
		printf("%16sfound  %s\n", "", found);
	if (wanted)
		printf("%16swanted %s\n", "", wanted);
	if (why)
		printf("%16s%s\n", "", why);
}

void cli_print_steps(const json_t *result)
{
	size_t i;
	json_t *step, *value;
	const char *key;
	json_array_foreach(json_object_get(result, "steps"), i, step) print_step(step);
	printf("\n%s\n",
		json_is_true(json_object_get(result, "valid")) ? "The token is valid:"
							       : "The token is not valid here.");
	json_object_foreach(json_object_get(result, "principal"), key, value)
	{
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		printf("  %s: %s\n", key, text ? text : "");
		free(text);
	}
}

/* ---- jws verify ---- */

static enum err load_set(const char *path, struct jwk_set **ret, const char **ret_why)
{
	FILE *file = fopen(path, "rb");
	*ret_why = "the file cannot be read";
	if (!file)
		return ERR_NOT_FOUND;
	struct buf b = BUF_INIT(JWKS_MAX);
	buf_add_stream(&b, file);
	fclose(file);
	*ret_why = "the file is too large";
	enum err err = b.err ? b.err : jwk_set_parse(buf_str(&b), ret, ret_why);
	buf_free(&b);
	return err;
}

static int verify(const char *path, struct str token)
{
	static struct jws jws;
	const char *why = "";
	struct jwk_set *set = NULL;
	enum err err = load_set(path, &set, &why);
	if (err) {
		fprintf(stderr, "signalbox: %s: %s\n", path, why);
		return EXIT_REFUSED;
	}
	err = jws_parse(token, &jws, &why);
	if (!err)
		err = jws_verify(&jws, set, jwa_default(), &why);
	jwk_set_unref(&set);
	if (err) {
		fprintf(stderr, "signalbox: %s\n", why);
		return EXIT_REFUSED;
	}
	fwrite(jws.payload.p, 1, jws.payload.n, stdout);
	return EXIT_DONE;
}

int cli_jws_verify(int argc, char **argv)
{
	if (argc != 4 || strcmp(argv[2], "--jwks") != 0) {
		bool asked = argc > 2 && strcmp(argv[2], "--help") == 0;
		fprintf(asked ? stdout : stderr,
			"usage: signalbox jws verify --jwks FILE <JWS\n\nChecks the signature of "
			"the "
			"compact JWS on standard input, as the service would, and\nwrites its "
			"payload "
			"to standard output; or says in one line why not.\n");
		return asked ? EXIT_DONE : EXIT_USAGE;
	}
	char *text = cli_read_input(1 << 20);
	if (!text)
		return EXIT_REFUSED;
	int code = verify(argv[3], str_of(text));
	free(text);
	return code;
}
