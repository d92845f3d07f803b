#include "client/load_parts.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

/* Each place among the connections goes on with its own, as a client that comes back: with TLS 1.3 OpenSSL
 * goes on with a session once, so that others could not if they shared it. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct conn *c = SSL_get_app_data(ssl);
	if (!c->load->resume_tls)
		return 0;
	SSL_SESSION_free(c->session);
	c->session = session;
	return 1; /* it is ours now */
}

static const char *why(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	ERR_clear_error();
	return reason ? reason : "the connection was closed";
}

void tls_prepare(struct load *load, const struct load_target *target)
{
	SSL_CTX *ctx = load->ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx) {
		load_fail(load, "TLS: %s", why());
		return;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_mode(ctx,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	if (target->insecure)
		return;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (!(target->authority ? SSL_CTX_load_verify_file(ctx, target->authority)
				: SSL_CTX_set_default_verify_paths(ctx)))
		load_fail(load, "%s: %s", target->authority ? target->authority : "certificates",
			why());
}

void tls_finish(struct load *load)
{
	for (unsigned i = 0; i < load->count; i++)
		SSL_SESSION_free(load->conns[i].session);
	SSL_CTX_free(load->ctx);
}

void tls_begin(struct conn *c)
{
	struct load *load = c->load;
	c->ssl = SSL_new(load->ctx);
	SSL_set_app_data(c->ssl, c);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_connect_state(c->ssl);
	X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
	if (!X509_VERIFY_PARAM_set1_ip_asc(param, load->host)) {
		ERR_clear_error();
		SSL_set1_host(c->ssl, load->host);
		SSL_set_tlsext_host_name(c->ssl, load->host);
	}
	if (c->session)
		SSL_set_session(c->ssl, c->session);
	tls_step(c);
}

/* Of a connection that has not said goodbye OpenSSL would not use the session again. */
void tls_end(struct conn *c)
{
	if (c->ssl)
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	c->ssl = NULL;
}

void tls_step(struct conn *c)
{
	ERR_clear_error();
	int done = SSL_do_handshake(c->ssl);
	int error = SSL_get_error(c->ssl, done);
	if (done == 1) {
		conn_connected(c);
	} else if (error == SSL_ERROR_WANT_READ) {
		conn_watch(c, false);
	} else if (error == SSL_ERROR_WANT_WRITE) {
		conn_watch(c, true);
	} else {
		long doubt = SSL_get_verify_result(c->ssl);
		load_fail(c->load, "TLS with %s:%s: %s%s", c->load->host, c->load->port,
			doubt ? X509_verify_cert_error_string(doubt) : why(),
			doubt ? "; give its authority with --ca FILE, or --insecure" : "");
		conn_close(c);
	}
}

static ssize_t outcome(struct conn *c, int got)
{
	int error = SSL_get_error(c->ssl, got);
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		errno = EAGAIN;
	else if (error != SSL_ERROR_SYSCALL || !errno)
		errno = ECONNRESET;
	ERR_clear_error();
	return -1;
}

ssize_t tls_read(struct conn *c, char *to, size_t n)
{
	size_t all = 0;
	while (all < n) { /* a record at a time; what OpenSSL holds epoll does not tell of */
		int got = SSL_read(c->ssl, to + all, (int)(n - all));
		if (got <= 0)
			return all ? (ssize_t)all : outcome(c, got);
		all += (size_t)got;
		if (!SSL_pending(c->ssl))
			break;
	}
	return (ssize_t)all;
}

ssize_t tls_write(struct conn *c, const char *from, size_t n)
{
	int put = SSL_write(c->ssl, from, (int)n);
	return put > 0 ? put : outcome(c, put);
}
