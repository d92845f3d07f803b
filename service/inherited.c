#include "service/inherited.h"

#include "core/mem.h"
#include "core/params.h"
#include "service/control.h"
#include "service/dispatch.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

enum {
	SYSTEMD_FIRST = 3, /* SD_LISTEN_FDS_START */
	SOCKETS_MAX = 4096,
	LINE_MAX_BYTES = 4096,
	ANSWER_SECONDS = 10,
};

struct inherited {
	int fd;
	enum inherited_side side;
};

static struct inherited *list;
static size_t count;

static void add(int fd, enum inherited_side side)
{
	list = mem_resize(list, count + 1, sizeof(*list));
	list[count++] = (struct inherited){fd, side};
}

static bool listens(int fd)
{
	int yes = 0, type = 0;
	socklen_t n = sizeof(int);
	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) && yes &&
		!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_STREAM;
}

/* ---- systemd ---- */

static bool number_is(const char *text, long want)
{
	char *end = NULL;
	return text && *text && strtol(text, &end, 10) == want && !*end;
}

enum err inherited_from_systemd(struct buf *why)
{
	const char *how_many = getenv("LISTEN_FDS");
	char *end = NULL;
	long n = how_many ? strtol(how_many, &end, 10) : 0;
	bool ours = how_many && number_is(getenv("LISTEN_PID"), getpid());
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	if (!ours)
		return ERR_OK;
	if (*end || n < 0 || n > SOCKETS_MAX) {
		buf_addf(why, "LISTEN_FDS is no count of sockets\n");
		return ERR_PARAMS;
	}
	for (int fd = SYSTEMD_FIRST; fd < SYSTEMD_FIRST + (int)n; fd++) {
		if (!listens(fd)) {
			buf_addf(why,
				"descriptor %d that systemd gives is no listening stream socket: "
				"the "
				"socket unit wants ListenStream=ADDRESS:PORT and Accept=no\n",
				fd);
			return ERR_PARAMS;
		}
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		add(fd, INHERITED_EITHER);
	}
	return ERR_OK;
}

/* ---- the process before ---- */

/* What it says, and the descriptors that came with it. */
struct incoming {
	struct buf text;
	int fds[CONTROL_SOCKETS_A_MESSAGE];
	size_t fd_count;
	enum err err;
	char message[256];
};

static void take_descriptors(struct incoming *a, struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (a->fd_count < CONTROL_SOCKETS_A_MESSAGE)
				a->fds[a->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

/* One piece of the stream; a piece that carries descriptors ends there. */
static bool receive(int peer, struct incoming *a)
{
	char bytes[LINE_MAX_BYTES];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(CONTROL_SOCKETS_A_MESSAGE * sizeof(int))];
	} control;
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room)};
	ssize_t n;
	do
		n = recvmsg(peer, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	take_descriptors(a, &m);
	buf_add(&a->text, bytes, (size_t)n);
	return !a->text.err && !(m.msg_flags & MSG_CTRUNC);
}

struct sockets_params {
	struct str url;
	struct param_bool internal;
	struct param_int count;
};

static const struct field sockets_fields[] = {
	FIELD(struct sockets_params, url, STRING, true, 1, 256),
	FIELD(struct sockets_params, internal, BOOL, true, 0, 0),
	FIELD(struct sockets_params, count, INT, true, 1, CONTROL_SOCKETS_A_MESSAGE),
	{0},
};

/* The line belongs to the descriptors that came with it: it says how many. */
static bool take_sockets(struct incoming *a, struct str params)
{
	struct sockets_params p = {0};
	struct params_problem problem;
	if (params_decode(params, sockets_fields, &p, &problem) ||
		(size_t)p.count.n != a->fd_count || count + a->fd_count > SOCKETS_MAX)
		return false;
	for (size_t i = 0; i < a->fd_count; i++)
		add(a->fds[i], p.internal.yes ? INHERITED_INTERNAL : INHERITED_PUBLIC);
	a->fd_count = 0;
	return true;
}

static bool take_line(struct incoming *a, struct str line, bool *ret_over)
{
	struct str error, message, text;
	if (json_check(line, NULL))
		return false;
	struct envelope e = envelope_read(json_trim(line), NULL);
	if (e.err)
		return false;
	if (!e.response)
		return json_string_is(e.method, "service.sockets") && take_sockets(a, e.params);
	*ret_over = true;
	if (!json_get(json_trim(line), "error", &error))
		return true;
	a->err = ERR_CONFLICT;
	text = json_get(error, "message", &message) ? message : STR("\"it refuses\"");
	snprintf(a->message, sizeof(a->message), STR_FMT, STR_ARG(text));
	return true;
}

/* Until the reply has come. Each line is handled with what came in front of it. */
static enum err read_answer(int peer, struct incoming *a)
{
	bool over = false;
	while (!over) {
		if (!receive(peer, a))
			return ERR_TIMEOUT;
		char *newline;
		while (!over && a->text.n && (newline = memchr(a->text.p, '\n', a->text.n))) {
			size_t n = (size_t)(newline - a->text.p);
			if (!take_line(a, (struct str){a->text.p, n}, &over))
				return ERR_PARSE;
			a->text.n -= n + 1;
			memmove(a->text.p, newline + 1, a->text.n);
		}
	}
	return a->err;
}

static enum err ask(int peer, const char *method, struct buf *why)
{
	struct incoming a = {.text = BUF_INIT(2 * LINE_MAX_BYTES)};
	struct buf line = BUF_INIT(256);
	buf_addf(&line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}\n", method);
	bool sent = send(peer, line.p, line.n, MSG_NOSIGNAL) == (ssize_t)line.n;
	enum err err = sent ? read_answer(peer, &a) : ERR_TIMEOUT;
	if (err)
		buf_addf(why, "the running service does not hand over: %s\n",
			err == ERR_CONFLICT ? a.message
				: err == ERR_PARSE
				? "its answer cannot be read; is it a much older one?"
				: "no answer came");
	while (a.fd_count)
		close(a.fds[--a.fd_count]);
	buf_free(&a.text);
	buf_free(&line);
	return err;
}

enum err inherited_ask(const char *control_path, int *ret_peer, struct buf *why)
{
	int peer = control_connect(control_path);
	if (peer < 0)
		return ERR_NOT_FOUND;
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	size_t before = why->n;
	enum err err = ask(peer, "service.sockets", why);
	if (err)
		close(peer);
	else
		*ret_peer = peer;
	if (err != ERR_TIMEOUT)
		return err;
	buf_cut(why, before); /* it has ended just now */
	return ERR_NOT_FOUND;
}

enum err inherited_take_over(int peer, struct buf *why)
{
	size_t before = why->n;
	enum err err = ask(peer, "service.hand_over", why);
	close(peer);
	if (err != ERR_TIMEOUT)
		return err;
	buf_cut(why, before); /* it is going already; the lock will say when it has gone */
	return ERR_OK;
}

/* ---- taking them ---- */

static unsigned port_of(const struct sockaddr_storage *a)
{
	return ntohs(((const struct sockaddr_in *)(const void *)a)
			     ->sin_port); /* in6 has it there, too */
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	if (a->ss_family != b->ss_family)
		return false;
	return a->ss_family == AF_INET6
		? memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0
		: a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

size_t inherited_take(
	const struct sockaddr_storage *a, bool internal, int **ret_fds, bool *ret_held)
{
	unsigned port = port_of(a);
	size_t taken = 0, kept = 0;
	*ret_fds = NULL;
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_storage own = {0};
		socklen_t n = sizeof(own);
		bool fits = !getsockname(list[i].fd, (struct sockaddr *)&own, &n) &&
			same_host(a, &own) && (!port || port == port_of(&own)) &&
			(list[i].side == INHERITED_EITHER ||
				(list[i].side == INHERITED_INTERNAL) == internal);
		if (!fits) {
			list[kept++] = list[i];
			continue;
		}
		port = port_of(&own);
		*ret_held = list[i].side == INHERITED_EITHER;
		*ret_fds = mem_resize(*ret_fds, taken + 1, sizeof(int));
		(*ret_fds)[taken++] = list[i].fd;
	}
	count = kept;
	return taken;
}

size_t inherited_left(void)
{
	return count;
}

int inherited_socket(size_t i, enum inherited_side *ret_side)
{
	*ret_side = list[i].side;
	return list[i].fd;
}

const char *inherited_name(size_t i)
{
	static char text[96];
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof(a);
	char host[64] = "?", port[8] = "?";
	getsockname(list[i].fd, (struct sockaddr *)&a, &n);
	getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV);
	bool v6 = a.ss_family == AF_INET6;
	snprintf(text, sizeof(text), "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	return text;
}

void inherited_close(void)
{
	while (count)
		close(list[--count].fd);
	free(list);
	list = NULL;
}
