#include "service/own_certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <time.h>
#include <unistd.h>

enum {
	DAY_S = 24 * 60 * 60,
	GOOD_FOR_DAYS = 397, /* browsers distrust what is good for longer */
	BEFORE_DAYS = 1,     /* for devices whose clock is behind */
	SERIAL_BYTES = 16,
	PATH_TEXT = 4096
};

static enum err failed(const char *doing, struct buf *why)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	buf_addf(why, "%s failed: %s\n", doing, reason ? reason : "OpenSSL does not say why");
	ERR_clear_error();
	return ERR_INTERNAL;
}

static bool write_fingerprint(const X509 *certificate, char out[FINGERPRINT_TEXT])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1 || n != 32)
		return false;
	for (unsigned i = 0; i < n; i++)
		snprintf(out + i * 3, 4, i + 1 < n ? "%02X:" : "%02X", digest[i]);
	return true;
}

/* ---- the one that is there ---- */

static bool is_good(X509 *certificate, EVP_PKEY *key, const char *address)
{
	time_t tomorrow = time(NULL) + DAY_S;
	return X509_check_private_key(certificate, key) == 1 &&
		X509_check_ip_asc(certificate, address, 0) == 1 &&
		X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
		X509_cmp_time(X509_get0_notAfter(certificate), &tomorrow) > 0;
}

static bool is_there(const char *path, const char *address, char ret_fingerprint[FINGERPRINT_TEXT])
{
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
	rewind(file);
	EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, (char[]){""});
	fclose(file);
	bool good = certificate && key && is_good(certificate, key, address) &&
		write_fingerprint(certificate, ret_fingerprint);
	X509_free(certificate);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return good;
}

/* ---- a new one ---- */

static bool set_serial(X509 *certificate)
{
	unsigned char bytes[SERIAL_BYTES];
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] &= 0x7f; /* a serial number is positive */
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return ok;
}

static bool add_extension(X509 *certificate, int kind, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
	bool ok = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *address)
{
	char names[128];
	snprintf(names, sizeof(names), "IP:%s,IP:127.0.0.1,DNS:localhost", address);
	X509_NAME *name = X509_get_subject_name(certificate);
	return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
		X509_time_adj_ex(X509_getm_notBefore(certificate), -BEFORE_DAYS, 0, NULL) &&
		X509_time_adj_ex(
			X509_getm_notAfter(certificate), GOOD_FOR_DAYS - BEFORE_DAYS, 0, NULL) &&
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
			(const unsigned char *)"Signalbox in this network", -1, -1, 0) == 1 &&
		X509_set_issuer_name(certificate, name) == 1 &&
		X509_set_pubkey(certificate, key) == 1 &&
		add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
		add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
		add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
		add_extension(certificate, NID_subject_alt_name, names) &&
		X509_sign(certificate, key, EVP_sha256()) > 0;
}

/* Whole or not at all: under another name first. */
static enum err write_both(const char *path, X509 *certificate, EVP_PKEY *key, struct buf *why)
{
	char fresh[PATH_TEXT];
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	unlink(fresh);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	bool ok = file && PEM_write_X509(file, certificate) == 1 &&
		PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
	ok = file && !fclose(file) && ok && !rename(fresh, path);
	if (!ok)
		buf_addf(why, "the certificate cannot be written to %s: %s\n", path,
			strerror(errno));
	return ok ? ERR_OK : ERR_INTERNAL;
}

enum err own_certificate(const char *path, const struct ip *ip,
	char ret_fingerprint[FINGERPRINT_TEXT], struct buf *why)
{
	char address[IP_TEXT_MAX];
	ip_write(ip, address);
	if (is_there(path, address, ret_fingerprint))
		return ERR_OK;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	enum err err = key && certificate && fill(certificate, key, address) &&
			write_fingerprint(certificate, ret_fingerprint)
		? write_both(path, certificate, key, why)
		: failed("making a certificate", why);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return err;
}
