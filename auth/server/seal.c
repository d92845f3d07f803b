#include "auth/server/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_BYTES = 32, NONCE_BYTES = 12, TAG_BYTES = 16 };

static unsigned char key[KEY_BYTES];

static bool write_new(const char *file)
{
	unsigned char made[KEY_BYTES];
	unlink(file); /* somebody's who was killed */
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	bool fine = RAND_bytes(made, sizeof(made)) == 1 &&
		write(fd, made, sizeof(made)) == sizeof(made) && fsync(fd) == 0;
	OPENSSL_cleanse(made, sizeof(made));
	return close(fd) == 0 && fine;
}

/* What is sealed with the key is in the store soon: so is the key's name in its directory. */
static bool keep_name(const char *file)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(file, '/');
	int n = slash ? (int)(slash - file) : 0;
	snprintf(directory, sizeof(directory), "%.*s/", n, file);
	int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool fine = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return fine;
}

/* Whoever is killed meanwhile leaves no half of a key under its name. */
static enum err make(const char *file)
{
	char fresh[PATH_MAX];
	int n = snprintf(fresh, sizeof(fresh), "%s.new", file);
	if (n < 0 || (size_t)n >= sizeof(fresh))
		return ERR_INTERNAL;
	if (write_new(fresh) && rename(fresh, file) == 0)
		return keep_name(file) ? ERR_OK : ERR_INTERNAL;
	unlink(fresh);
	return ERR_INTERNAL;
}

enum err seal_start(const char *file, char *ret_why)
{
	struct stat about;
	if (access(file, F_OK) != 0 && errno == ENOENT && make(file) != ERR_OK) {
		snprintf(ret_why, SEAL_WHY_MAX, "%.200s cannot be made: %m", file);
		return ERR_INTERNAL;
	}
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	bool fine = fd >= 0 && fstat(fd, &about) == 0 && read(fd, key, sizeof(key)) == KEY_BYTES;
	if (!fine)
		snprintf(ret_why, SEAL_WHY_MAX, "%.200s cannot be read, or is cut", file);
	else if (about.st_mode & (S_IRWXG | S_IRWXO))
		snprintf(ret_why, SEAL_WHY_MAX,
			"%.200s is a secret, and others may read it: chmod 600", file);
	if (fd >= 0)
		close(fd);
	return fine && !(about.st_mode & (S_IRWXG | S_IRWXO)) ? ERR_OK : ERR_INTERNAL;
}

void seal_stop(void)
{
	OPENSSL_cleanse(key, sizeof(key));
}

/* The nonce is random: a key seals a few million secrets at the most. */
struct str seal_close(struct str text, struct str purpose, unsigned char *out)
{
	int n, end;
	unsigned char *body = out + NONCE_BYTES;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int ok = c && RAND_bytes(out, NONCE_BYTES) == 1 &&
		EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, out) &&
		EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)purpose.p, (int)purpose.n) &&
		EVP_EncryptUpdate(c, body, &n, (const unsigned char *)text.p, (int)text.n) &&
		EVP_EncryptFinal_ex(c, body + n, &end) &&
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, body + text.n);
	EVP_CIPHER_CTX_free(c);
	if (!ok)
		abort(); /* what was not sealed must not be kept */
	return (struct str){(const char *)out, text.n + SEAL_MORE};
}

bool seal_open(struct str sealed, struct str purpose, unsigned char *out, struct str *ret_text)
{
	int n, end;
	if (sealed.n < SEAL_MORE)
		return false;
	const unsigned char *bytes = (const unsigned char *)sealed.p, *body = bytes + NONCE_BYTES;
	size_t length = sealed.n - SEAL_MORE;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	bool ok = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, bytes) &&
		EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)purpose.p, (int)purpose.n) &&
		EVP_DecryptUpdate(c, out, &n, body, (int)length) &&
		EVP_CIPHER_CTX_ctrl(
			c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, (void *)(uintptr_t)(body + length)) &&
		EVP_DecryptFinal_ex(c, out + n, &end) > 0;
	EVP_CIPHER_CTX_free(c);
	if (ok)
		*ret_text = (struct str){(const char *)out, length};
	return ok;
}
