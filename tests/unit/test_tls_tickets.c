/* TLS sessions that go on: between contexts as workers have them, for as long as a ticket's key is taken; and
 * of the load generator, however its connections take turns. */
#include "client/load.h"
#include "core/clock.h"
#include "service/tls_tickets.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { WORKERS = 4, TURNS = 10000 /* of a millisecond, at most */ };

static SSL_CTX *workers[WORKERS], *clients;
static SSL_SESSION *given; /* the newest that a client got */
static bool forget_amid;   /* in the middle of the next handshakes */

static int make(void **state)
{
	(void)state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = SSL_CTX_new(TLS_server_method());
		assert_int_equal(SSL_CTX_use_certificate(workers[i], certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(workers[i], key), 1);
		tls_tickets_attach(workers[i]);
	}
	clients = SSL_CTX_new(TLS_client_method());
	X509_free(certificate);
	EVP_PKEY_free(key);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	tls_tickets_forget();
	for (int i = 0; i < WORKERS; i++)
		SSL_CTX_free(workers[i]);
	SSL_CTX_free(clients);
	SSL_SESSION_free(given);
	return 0;
}

/* One handshake with that worker; whether it went on with that session (which may be NULL). */
static bool goes_on(int worker, int version, SSL_SESSION *session)
{
	SSL *client = SSL_new(clients), *server = SSL_new(workers[worker]);
	BIO *one, *other;
	char byte;
	assert_int_equal(BIO_new_bio_pair(&one, 0, &other, 0), 1);
	SSL_set_bio(client, one, one);
	SSL_set_bio(server, other, other);
	SSL_set_max_proto_version(client, version);
	if (session)
		assert_int_equal(SSL_set_session(client, session), 1);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int step = 0; step < 8; step++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
		if (forget_amid && !step)
			tls_tickets_forget();
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	SSL_read(client, &byte, 1); /* a ticket of TLS 1.3 comes behind the handshake */
	SSL_SESSION_free(given);
	given = SSL_get1_session(client);
	bool reused = SSL_session_reused(server);
	SSL_shutdown(client);
	SSL_free(client);
	SSL_free(server);
	return reused;
}

static SSL_SESSION *take_given(void)
{
	SSL_SESSION *session = given;
	assert_non_null(session);
	given = NULL;
	return session;
}

static void a_session_goes_on_with_every_worker(int version)
{
	tls_tickets_forget();
	assert_false(goes_on(0, version, NULL));
	SSL_SESSION *session = take_given();
	for (int i = 0; i < WORKERS; i++)
		assert_true(goes_on(i, version, session));
	SSL_SESSION_free(session);
}

static void a_ticket_is_taken_for_two_periods(int version)
{
	int64_t now = clock_steady_ms();
	tls_tickets_forget();
	assert_false(goes_on(0, version, NULL));
	SSL_SESSION *first = take_given();
	tls_tickets_turn(now + TICKETS_MS / 2);
	assert_true(goes_on(1, version, first));
	tls_tickets_turn(now + TICKETS_MS + 60000);
	assert_true(goes_on(1, version, first)); /* and brings a ticket under the new key */
	SSL_SESSION *second = take_given();
	tls_tickets_turn(now + TICKETS_MS + 60000); /* the new key was made just now */
	assert_false(goes_on(2, version, first));
	assert_true(goes_on(2, version, second));
	SSL_SESSION_free(first);
	SSL_SESSION_free(second);
}

static void forgotten_ones_are_not_taken(int version)
{
	tls_tickets_forget();
	assert_false(goes_on(0, version, NULL));
	SSL_SESSION *session = take_given();
	tls_tickets_forget();
	assert_false(goes_on(0, version, session));
	SSL_SESSION_free(session);
}

/* It was shown what is not in force any more, or went on from under it. */
static void one_under_way_is_forgotten_too(int version)
{
	tls_tickets_forget();
	forget_amid = true;
	assert_false(goes_on(0, version, NULL));
	SSL_SESSION *first = take_given();
	forget_amid = false;
	assert_false(goes_on(1, version, first));
	SSL_SESSION *good = take_given();
	forget_amid = true;
	assert_true(goes_on(2, version, good));
	SSL_SESSION *last = take_given();
	forget_amid = false;
	assert_false(goes_on(3, version, last));
	SSL_SESSION_free(first);
	SSL_SESSION_free(good);
	SSL_SESSION_free(last);
}

/* ---- the load generator ---- */

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	(void)l, (void)prefix;
	buf_adds(out, STR("/ HTTP/1.1\r\n"));
}

/* What has been greeted, and of that what went on. */
struct greetings {
	unsigned all, resumed;
};

static void greeted(void *context, struct link *l)
{
	struct greetings *g = context;
	g->all++;
	g->resumed += load_resumed(l);
}

/* The server's side of a connection that begins now. */
static SSL *opened(struct load *load, int listener)
{
	assert_non_null(load_open(load, &(struct load_link){.part = PART_GUEST}));
	SSL *ssl = SSL_new(workers[0]);
	SSL_set_fd(ssl, accept4(listener, NULL, NULL, SOCK_NONBLOCK));
	SSL_set_accept_state(ssl);
	return ssl;
}

/* Until there is something of the client's to read. */
static void wait_for(struct load *load, SSL *ssl)
{
	char byte;
	for (int i = 0; i < TURNS; i++) {
		assert_true(load_turn(load, 1000000));
		if (recv(SSL_get_fd(ssl), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
			return;
	}
	fail();
}

/* Then the client is through; the server is not, and has given no ticket. */
static void let_through(struct load *load, SSL *ssl)
{
	wait_for(load, ssl);
	assert_int_equal(SSL_do_handshake(ssl), -1);
	wait_for(load, ssl);
}

/* Gives the ticket, and has the request. */
static void hear(struct load *load, SSL *ssl)
{
	char request[1024];
	assert_int_equal(SSL_do_handshake(ssl), 1);
	wait_for(load, ssl);
	assert_true(SSL_read(ssl, request, sizeof(request)) > 0);
}

static void answer(struct load *load, SSL *ssl, struct greetings *g)
{
	static const struct str text = STR("HTTP/1.1 101 Fine\r\n\r\n");
	unsigned before = g->all;
	assert_int_equal(SSL_write(ssl, text.p, (int)text.n), text.n);
	for (int i = 0; i < TURNS && g->all == before; i++)
		assert_true(load_turn(load, 1000000));
	assert_int_equal(g->all, before + 1);
	close(SSL_get_fd(ssl));
	SSL_free(ssl);
}

/* Of two at a time: whoever begins while another is through, and has no new ticket yet, goes on, too. */
static void each_that_comes_back_goes_on(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	char url[64];
	(void)state;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &size), 0);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", ntohs(a.sin_port));
	tls_tickets_forget();
	struct load_target target = {.url = url, .insecure = true, .resume_tls = true};
	struct dialect dialect = {.upgrade = upgrade};
	struct greetings g = {0};
	struct load *load =
		load_new(&target, &dialect, &(struct load_events){.greeted = greeted}, &g, 2);
	SSL *one = opened(load, listener), *other = opened(load, listener);
	let_through(load, one);
	let_through(load, other);
	for (int round = 0; round < 4; round++) {
		hear(load, one);
		hear(load, other);
		answer(load, one, &g);
		one = opened(load, listener);
		let_through(load, one);
		answer(load, other, &g);
		other = opened(load, listener);
		let_through(load, other);
	}
	hear(load, one);
	answer(load, one, &g);
	hear(load, other);
	answer(load, other, &g);
	assert_int_equal(g.all, 10);
	assert_int_equal(g.resumed, 8); /* all but the first two */
	load_free(&load);
	close(listener);
}

/* clang-format off */
#define BOTH(what) \
	static void what##_with_tls_1_3(void **state) { (void)state; what(TLS1_3_VERSION); } \
	static void what##_with_tls_1_2(void **state) { (void)state; what(TLS1_2_VERSION); }
/* clang-format on */
BOTH(a_session_goes_on_with_every_worker)
BOTH(a_ticket_is_taken_for_two_periods)
BOTH(forgotten_ones_are_not_taken)
BOTH(one_under_way_is_forgotten_too)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_goes_on_with_every_worker_with_tls_1_3),
		cmocka_unit_test(a_session_goes_on_with_every_worker_with_tls_1_2),
		cmocka_unit_test(a_ticket_is_taken_for_two_periods_with_tls_1_3),
		cmocka_unit_test(a_ticket_is_taken_for_two_periods_with_tls_1_2),
		cmocka_unit_test(forgotten_ones_are_not_taken_with_tls_1_3),
		cmocka_unit_test(forgotten_ones_are_not_taken_with_tls_1_2),
		cmocka_unit_test(one_under_way_is_forgotten_too_with_tls_1_3),
		cmocka_unit_test(one_under_way_is_forgotten_too_with_tls_1_2),
		cmocka_unit_test(each_that_comes_back_goes_on),
	};
	return cmocka_run_group_tests(tests, make, finish);
}
