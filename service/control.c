#include "service/control.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/json_scan.h"
#include "service/dispatch.h"
#include "service/listener.h"

#include <errno.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 256 * 1024,
	ANSWER_MAX = 32 << 20,
	READ_BYTES = 16384,
	UNREAD_MAX = 1 << 20, /* of answers; past it no more is taken in */
	BACKLOG = 16
};

static const char *path;
static _Thread_local uv_pipe_t listener;
static _Thread_local struct control *controls;
static _Thread_local bool is_open;
static atomic_bool given_away; /* by worker 0; the main thread asks at the end */

struct control {
	struct caller caller;
	struct control *next, **back;
	uv_pipe_t pipe;
	struct buf line;
	bool closing;
	bool waits; /* nothing is read from it until it has read */
	char chunk[READ_BYTES];
};

void control_configure(const char *p)
{
	path = p;
}

static void on_closed(uv_handle_t *handle)
{
	struct control *c = handle->data;
	buf_free(&c->line);
	free(c);
}

static void close_control(struct control *c)
{
	if (c->closing)
		return;
	c->closing = true;
	*c->back = c->next;
	if (c->next)
		c->next->back = c->back;
	caller_end(&c->caller, true);
	uv_close((uv_handle_t *)&c->pipe, on_closed);
}

struct reply {
	uv_write_t request;
	struct buf bytes;
};

static void reply_free(struct reply *r)
{
	buf_free(&r->bytes);
	free(r);
}

static bool is_behind(const struct control *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->pipe) > UNREAD_MAX;
}

static void go_on(struct control *c);

static void on_written(uv_write_t *request, int status)
{
	struct control *c = request->handle->data;
	reply_free((struct reply *)(void *)request);
	if (c->closing)
		return;
	if (status)
		close_control(c); /* it has left, which is not read from it while it waits */
	else if (c->waits && !is_behind(c))
		go_on(c);
}

/* An answer is a line, but JSON that is passed on as it came (metadata, the description of the
 * methods) may have lines of its own: between its values, where a space means the same. */
static void make_one_line(struct buf *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->p[i] == '\n' || b->p[i] == '\r')
			b->p[i] = ' ';
}

static void on_answers(struct caller *caller, struct answer *list, size_t count, bool array)
{
	struct control *c = (struct control *)caller;
	struct reply *r = mem_new(struct reply);
	r->bytes = BUF_INIT(ANSWER_MAX);
	for (size_t i = 0; i < count; i++) {
		if (array)
			buf_addc(&r->bytes, i ? ',' : '[');
		buf_adds(&r->bytes, frame_str(list[i].frame));
		frame_unref(&list[i].frame);
	}
	if (array && count)
		buf_addc(&r->bytes, ']');
	make_one_line(&r->bytes);
	buf_addc(&r->bytes, '\n');
	uv_buf_t out = uv_buf_init(r->bytes.p, (unsigned)r->bytes.n);
	if (!count || uv_write(&r->request, (uv_stream_t *)&c->pipe, &out, 1, on_written))
		reply_free(r);
}

static void on_event(struct caller *c, struct frame *f)
{
	(void)c;
	frame_unref(&f);
}

static const struct caller_ops ops = {.answers = on_answers, .event = on_event};

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
	(void)wanted;
	struct control *c = handle->data;
	*ret = uv_buf_init(c->chunk, sizeof(c->chunk));
}

/* ---- a successor ---- */

static void say(struct control *c, struct frame *f)
{
	on_answers(&c->caller, &(struct answer){.frame = f}, 1, false);
}

static void say_done(struct control *c, struct str id)
{
	struct buf b = frame_buf();
	buf_addf(&b, "{\"jsonrpc\":\"2.0\",\"id\":" STR_FMT ",\"result\":{}}", STR_ARG(id));
	say(c, frame_take(&b));
}

/* Some of an address' sockets, with the line that says so. False: the other side does not take it. */
static bool send_sockets(int fd, struct str line, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(CONTROL_SOCKETS_A_MESSAGE * sizeof(int))];
	} control = {0};
	struct iovec iov = {(char *)(uintptr_t)line.p, line.n};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)line.n;
}

static bool send_address(int to, const int *fds, size_t count, const char *url, bool internal)
{
	bool sent = true;
	for (size_t at = 0; at < count && sent; at += CONTROL_SOCKETS_A_MESSAGE) {
		size_t n = count - at;
		if (n > CONTROL_SOCKETS_A_MESSAGE)
			n = CONTROL_SOCKETS_A_MESSAGE;
		struct buf line = BUF_INIT(1024);
		buf_addf(&line,
			"{\"jsonrpc\":\"2.0\",\"method\":\"service.sockets\",\"params\":{\"url\":"
			"\"%s\","
			"\"internal\":%s,\"count\":%zu}}\n",
			url, internal ? "true" : "false", n);
		sent = send_sockets(to, buf_str(&line), fds + at, n);
		buf_free(&line);
	}
	return sent;
}

static void give_sockets(struct control *c, struct str id)
{
	uv_os_fd_t to = -1;
	const int *fds;
	const char *url;
	bool internal, sent = !uv_fileno((uv_handle_t *)&c->pipe, &to);
	for (size_t i = 0, n; sent && (n = listener_sockets(i, &fds, &url, &internal)); i++)
		sent = send_address(to, fds, n, url, internal);
	if (sent)
		say_done(c, id);
	else
		close_control(c); /* it has no use for a part of them */
}

bool control_gave_away(void)
{
	return given_away;
}

/* Whose line it is has come in by this socket, so it may; and it has all sockets by now. */
static void hand_over(struct control *c, struct str id)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);
	uv_os_fd_t fd = -1;
	if (!uv_fileno((uv_handle_t *)&c->pipe, &fd))
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n);
	log_info("handing over", LOG_INT("pid", peer.pid));
	given_away = true;
	say_done(c, id);
	kill(getpid(), SIGUSR2); /* the main thread waits for it (service/cli.c) */
}

/* False: the line is an ordinary one. */
static bool is_successor(struct control *c, struct str line)
{
	static const char word[] = "\"service.";
	if (!memmem(line.p, line.n, word, sizeof(word) - 1) || json_check(line, NULL))
		return false;
	struct envelope e = envelope_read(json_trim(line), NULL);
	bool asks = !e.err && e.id.n && json_string_is(e.method, "service.sockets");
	bool takes = !e.err && e.id.n && json_string_is(e.method, "service.hand_over");
	const int *fds;
	const char *url;
	bool internal;
	if (!asks && !takes)
		return false;
	if (asks && !is_open && !given_away)
		close_control(c); /* it ends by itself: nobody is there any more */
	else if (given_away)
		say(c,
			error_frame(e.id, ERR_CONFLICT,
				&(struct refusal){.message = "This service is stopping already."}));
	else if (!listener_sockets(0, &fds, &url, &internal))
		say(c,
			error_frame(e.id, ERR_CONFLICT,
				&(struct refusal){.message = "This is a command, not a service."}));
	else if (asks)
		give_sockets(c, e.id);
	else if (!is_open)
		say_done(c, e.id); /* told to stop meanwhile, it lets go anyway */
	else
		hand_over(c, e.id);
	return true;
}

static void take_lines(struct control *c)
{
	char *newline;
	while (!is_behind(c) && !c->line.err && c->line.n &&
		(newline = memchr(c->line.p, '\n', c->line.n))) {
		size_t n = (size_t)(newline - c->line.p);
		struct str line = {c->line.p, n};
		if (!is_successor(c, line))
			dispatch(&c->caller, line, 0);
		if (c->closing)
			return;
		c->line.n -= n + 1;
		memmove(c->line.p, newline + 1, c->line.n);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *in)
{
	struct control *c = stream->data;
	if (n > 0) {
		buf_add(&c->line, in->base, (size_t)n);
		take_lines(c);
	}
	if (n < 0 || c->line.err)
		close_control(c);
	else if (!c->closing && is_behind(c)) {
		c->waits = true;
		uv_read_stop(stream);
	}
}

static void go_on(struct control *c)
{
	take_lines(c);
	if (c->closing || is_behind(c))
		return;
	c->waits = false;
	if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read))
		close_control(c);
}

static struct principal *administrator(void)
{
	return principal_new(&(struct principal){.user = STR("control"),
		.name = STR("The command line"),
		.scopes = (1u << SCOPE_BITS) - 1,
		.expires_at = INT64_MAX});
}

static void on_connection(uv_stream_t *server, int status)
{
	if (status)
		return;
	struct control *c = mem_new(struct control);
	c->line = BUF_INIT(LINE_MAX_BYTES);
	uv_pipe_init(server->loop, &c->pipe, 0);
	c->pipe.data = c;
	c->back = &controls;
	c->next = controls;
	if (c->next)
		c->next->back = &c->next;
	controls = c;
	struct principal *who = administrator();
	caller_begin(&c->caller, &ops, who);
	principal_unref(&who);
	if (uv_accept(server, (uv_stream_t *)&c->pipe) ||
		uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read))
		close_control(c);
}

static enum err start(struct worker *w)
{
	if (w->index)
		return ERR_OK;
	unlink(path); /* we own the directory: a socket here is left over */
	mode_t before = umask(0177);
	uv_pipe_init(&w->loop, &listener, 0);
	int failed = uv_pipe_bind(&listener, path);
	umask(before);
	is_open = true;
	if (!failed)
		return ERR_OK;
	log_error("the control socket cannot be opened", LOG_TEXT("path", path),
		LOG_TEXT("reason", uv_strerror(failed)));
	return ERR_INTERNAL;
}

void control_listen(struct worker *w)
{
	int failed = 0;
	if (!w->index)
		failed = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
	if (failed)
		log_error("the control socket cannot be listened on",
			LOG_TEXT("reason", uv_strerror(failed)));
}

/* Who waits for an answer still gets it. */
static void drain(struct worker *w)
{
	(void)w;
	if (!is_open)
		return;
	is_open = false;
	uv_close((uv_handle_t *)&listener, NULL); /* its file goes, too */
}

static bool drained(struct worker *w)
{
	(void)w;
	for (const struct control *c = controls; c; c = c->next)
		if (c->caller.in_flight)
			return false;
	return true;
}

static void stop(struct worker *w)
{
	drain(w);
	while (controls)
		close_control(controls);
}

const struct worker_part control_part = {
	.name = "control socket", .start = start, .drain = drain, .drained = drained, .stop = stop};

/* ---- the other side ---- */

int control_connect(const char *at)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(at);
	if (n >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(a.sun_path, at, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static bool write_all(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s.p += n;
		s.n -= (size_t)n;
	}
	return true;
}

char *control_ask(int fd, struct str line)
{
	struct buf answer = BUF_INIT(ANSWER_MAX);
	char chunk[READ_BYTES];
	bool sent = write_all(fd, line) && write_all(fd, STR("\n"));
	while (sent && (!answer.n || answer.p[answer.n - 1] != '\n')) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_add(&answer, chunk, (size_t)n);
	}
	if (!answer.n || answer.p[answer.n - 1] != '\n') {
		buf_free(&answer);
		return NULL;
	}
	answer.p[--answer.n] = 0;
	return buf_take(&answer);
}
