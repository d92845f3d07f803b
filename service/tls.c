#include "service/tls.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/tls_tickets.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <time.h>

/* The pair lies in a context of its own, that no connection is made from: loading into it checks all
 * that OpenSSL would check later. */
struct tls_pair {
	SSL_CTX *context;
	time_t ends;
};

static struct tls_pair *in_force;

/* ---- reading ---- */

/* The service has no terminal to ask on. */
static int no_password(char *out, int size, int writing, void *asked)
{
	(void)out, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

/* What OpenSSL has last complained about, in words. */
static const char *complaint(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	return reason ? reason : "it cannot be used";
}

static FILE *open_file(const char *key, const char *path, struct buf *why)
{
	FILE *file = fopen(path, "re");
	if (!file)
		buf_addf(why, "%s %s cannot be read: %s\n", key, path, strerror(errno));
	return file;
}

static enum err load_certificate(SSL_CTX *context, const char *path, struct buf *why)
{
	FILE *file = open_file("tls.certificate", path, why);
	if (!file)
		return ERR_PARAMS;
	fclose(file);
	if (SSL_CTX_use_certificate_chain_file(context, path) == 1)
		return ERR_OK;
	bool none = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	buf_addf(why, "tls.certificate %s holds no certificate in PEM form that can be used: %s\n",
		path, none ? "there is none" : complaint());
	return ERR_PARAMS;
}

static enum err load_key(SSL_CTX *context, const char *path, struct buf *why)
{
	FILE *file = open_file("tls.key", path, why);
	if (!file)
		return ERR_PARAMS;
	bool encrypted = false;
	EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_password, &encrypted);
	fclose(file);
	bool fits = key && SSL_CTX_use_PrivateKey(context, key) == 1 &&
		SSL_CTX_check_private_key(context) == 1;
	if (encrypted)
		buf_addf(why, "tls.key %s is encrypted: the service cannot ask for a password\n",
			path);
	else if (!key)
		buf_addf(why, "tls.key %s holds no private key in PEM form\n", path);
	else if (!fits)
		buf_addf(why, "tls.key %s is not the key of tls.certificate: %s\n", path,
			complaint());
	EVP_PKEY_free(key);
	return fits ? ERR_OK : ERR_PARAMS;
}

static time_t seconds_of(const ASN1_TIME *when)
{
	struct tm tm = {0};
	return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

static void say_dates(const struct tls_pair *pair, const char *path)
{
	const X509 *certificate = SSL_CTX_get0_certificate(pair->context);
	time_t now = time(NULL), begins = seconds_of(X509_get0_notBefore(certificate));
	char until[32];
	struct tm tm;
	gmtime_r(&pair->ends, &tm);
	strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (pair->ends <= now)
		log_warn("the certificate has expired", LOG_TEXT("file", path),
			LOG_TEXT("until", until));
	else if (begins > now)
		log_warn("the certificate is not valid yet", LOG_TEXT("file", path));
	else
		log_info("certificate", LOG_TEXT("file", path), LOG_TEXT("until", until));
}

static void pair_free(struct tls_pair **pair)
{
	if (*pair)
		SSL_CTX_free((*pair)->context);
	free(*pair);
	*pair = NULL;
}

enum err tls_pair_load(
	const char *certificate, const char *key, struct tls_pair **ret_pair, struct buf *why)
{
	struct tls_pair *pair = mem_new(struct tls_pair);
	pair->context = SSL_CTX_new(TLS_server_method());
	ERR_clear_error();
	enum err err = pair->context ? ERR_OK : ERR_NOMEM;
	if (!err)
		err = load_certificate(pair->context, certificate, why);
	if (!err)
		err = load_key(pair->context, key, why);
	ERR_clear_error();
	if (err) {
		pair_free(&pair);
		return err;
	}
	pair->ends = seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(pair->context)));
	say_dates(pair, certificate);
	*ret_pair = pair;
	return ERR_OK;
}

/* ---- in force ---- */

static bool same_certificate(const struct tls_pair *a, const struct tls_pair *b)
{
	return a && b &&
		X509_cmp(SSL_CTX_get0_certificate(a->context),
			SSL_CTX_get0_certificate(b->context)) == 0;
}

/* Who goes on with a session is not shown the certificate: none that began under another one goes on, for
 * that may have been replaced because it is not to be trusted any more. */
void tls_pair_use(struct tls_pair **pair)
{
	if (!same_certificate(*pair, in_force))
		tls_tickets_forget();
	metric_add(METRIC_CERTIFICATE_ENDS,
		(int64_t)(*pair ? (*pair)->ends : 0) - (int64_t)(in_force ? in_force->ends : 0));
	pair_free(&in_force);
	in_force = *pair;
	*pair = NULL;
}

/* Connections refer to certificate and key themselves: these live as long as one does. */
static int show(SSL *connection, void *argument)
{
	(void)argument;
	STACK_OF(X509) *chain = NULL;
	SSL_CTX_get0_chain_certs(in_force->context, &chain);
	return SSL_use_cert_and_key(connection, SSL_CTX_get0_certificate(in_force->context),
		SSL_CTX_get0_privatekey(in_force->context), chain, 1);
}

void tls_attach(SSL_CTX *context)
{
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB an idle connection */
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_cert_cb(context, show, NULL);
	tls_tickets_attach(context);
}
