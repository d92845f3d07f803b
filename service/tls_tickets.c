#include "service/tls_tickets.h"

#include "core/clock.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { NAME_BYTES = 16, IV_BYTES = 16, TICKETS_EACH = 1 };

struct ticket_key {
	int64_t born_ms; /* 0: there is none */
	unsigned char name[NAME_BYTES], cipher[32], mac[32];
};

/* newest gives tickets; both take them. */
static struct ticket_key newest, before;
static uintptr_t forgotten; /* so many times */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int began_at; /* where a connection keeps what forgotten was when its handshake began */

static bool is_old(const struct ticket_key *key, int64_t now_ms, int periods)
{
	return key->born_ms && now_ms - key->born_ms >= (int64_t)periods * TICKETS_MS;
}

static void turn(int64_t now_ms)
{
	if (is_old(&newest, now_ms, 1)) {
		before = newest;
		OPENSSL_cleanse(&newest, sizeof(newest));
	}
	if (is_old(&before, now_ms, 2))
		OPENSSL_cleanse(&before, sizeof(before));
}

void tls_tickets_turn(int64_t now_ms)
{
	pthread_mutex_lock(&lock);
	turn(now_ms);
	pthread_mutex_unlock(&lock);
}

void tls_tickets_forget(void)
{
	pthread_mutex_lock(&lock);
	forgotten++;
	OPENSSL_cleanse(&newest, sizeof(newest));
	OPENSSL_cleanse(&before, sizeof(before));
	pthread_mutex_unlock(&lock);
}

static bool make(struct ticket_key *key, int64_t now_ms)
{
	bool made = RAND_bytes(key->name, sizeof(key->name)) == 1 &&
		RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
		RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1;
	key->born_ms = made ? now_ms : 0;
	return made;
}

static void make_place(void)
{
	began_at = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* From here on it is known what certificate it shows, or goes on from under. */
static int on_hello(SSL *connection, int *alert, void *context)
{
	(void)alert, (void)context;
	pthread_mutex_lock(&lock);
	int kept = SSL_set_ex_data(connection, began_at, (void *)forgotten);
	pthread_mutex_unlock(&lock);
	return kept ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

/* A copy of the key that tickets are given under now; for a handshake that began before all was forgotten
 * one that nobody else has. */
static bool key_to_give(const SSL *connection, struct ticket_key *ret)
{
	int64_t now = clock_steady_ms();
	pthread_mutex_lock(&lock);
	turn(now);
	bool late = (uintptr_t)SSL_get_ex_data(connection, began_at) != forgotten;
	bool is = late || newest.born_ms || make(&newest, now ? now : 1);
	*ret = newest;
	pthread_mutex_unlock(&lock);
	return late ? make(ret, 1) : is;
}

/* A copy of the key of that name. *ret_renew: it gives no tickets any more. */
static bool key_to_take(const unsigned char *name, struct ticket_key *ret, bool *ret_renew)
{
	int64_t now = clock_steady_ms();
	pthread_mutex_lock(&lock);
	turn(now);
	*ret_renew = !newest.born_ms || memcmp(name, newest.name, NAME_BYTES) != 0;
	*ret = *ret_renew ? before : newest;
	pthread_mutex_unlock(&lock);
	return ret->born_ms && memcmp(name, ret->name, NAME_BYTES) == 0;
}

static bool use(struct ticket_key *key, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
	const unsigned char *iv, int gives)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end()};
	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, gives) == 1 &&
		EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 ends the handshake, 0 makes it a whole one, 1 goes on, and 2
 * goes on with a new ticket: with TLS 1.3 always, as clients use one only once (RFC 8446, section C.4). */
static int on_ticket(SSL *connection, unsigned char *name, unsigned char *iv,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int gives)
{
	struct ticket_key key = {0};
	bool renew = false;
	int result = gives ? -1 : 0;
	if (gives && key_to_give(connection, &key) && RAND_bytes(iv, IV_BYTES) == 1) {
		memcpy(name, key.name, NAME_BYTES);
		result = use(&key, cipher, mac, iv, gives) ? 1 : -1;
	} else if (!gives && key_to_take(name, &key, &renew)) {
		renew |= SSL_version(connection) == TLS1_3_VERSION;
		result = !use(&key, cipher, mac, iv, gives) ? -1 : renew ? 2 : 1;
	}
	OPENSSL_cleanse(&key, sizeof(key));
	return result;
}

void tls_tickets_attach(SSL_CTX *context)
{
	pthread_once(&once, make_place);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* the client keeps it all */
	SSL_CTX_set_num_tickets(context, TICKETS_EACH);
	SSL_CTX_set_timeout(context, TICKETS_MS / 1000);
	SSL_CTX_set_client_hello_cb(context, on_hello, NULL);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}
