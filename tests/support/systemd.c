/* What systemd does for a service, for tests: holds listening sockets while services come and go
 * (sd_listen_fds(3)) and hears what they say (sd_notify(3)).
 *
 *   systemd NOTIFY-PATH SOCKETS PROGRAM
 *
 * prints "port N" for each socket, opened at 127.0.0.1; then, for each line of standard input, starts the
 * program with the line's words, which have tabs between them. Prints "started PID", "says WORDS" and
 * "ended CODE". Ends, and its services with it, at the end of standard input. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 3, SOCKETS_MAX = 8, WORDS_MAX = 32, LOOK_MS = 10 };

static int sockets[SOCKETS_MAX];
static int count;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int hold(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) || listen(fd, 128) ||
		getsockname(fd, (struct sockaddr *)&a, &n))
		die("socket");
	printf("port %d\n", ntohs(a.sin_port));
	return fd;
}

static int hear(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(a.sun_path))
		die("the path is too long");
	memcpy(a.sun_path, path, strlen(path));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("bind");
	return fd;
}

static void start(const char *program, char *line)
{
	char *words[WORDS_MAX + 2] = {(char *)(size_t)program}, *rest = line;
	for (int i = 1; rest && i <= WORDS_MAX; i++)
		words[i] = strsep(&rest, "\t");
	pid_t pid = fork();
	if (pid == 0) {
		char text[16];
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(STDERR_FILENO, STDOUT_FILENO); /* ours is for us alone */
		for (int i = 0; i < count; i++)     /* they are above the last of these */
			dup2(sockets[i], FIRST + i);
		snprintf(text, sizeof(text), "%d", count);
		setenv("LISTEN_FDS", text, 1);
		snprintf(text, sizeof(text), "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		execv(program, words);
		die(program);
	}
	printf("started %d\n", (int)pid);
}

static void say(int fd)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof(text), 0);
	for (ssize_t i = 0; i < n; i++)
		if (text[i] == '\n')
			text[i] = ' ';
	printf("says %.*s\n", (int)n, text);
}

int main(int argc, char **argv)
{
	char line[4096];
	if (argc != 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	int heard = hear(argv[1]);
	setenv("NOTIFY_SOCKET", argv[1], 1);
	for (long n = strtol(argv[2], NULL, 10); count < n && count < SOCKETS_MAX; count++)
		sockets[count] = fcntl(hold(), F_DUPFD_CLOEXEC, FIRST + SOCKETS_MAX);
	puts("holding");
	for (;;) {
		struct pollfd of[] = {{.fd = 0, .events = POLLIN}, {.fd = heard, .events = POLLIN}};
		int status;
		poll(of, 2, LOOK_MS);
		if (of[1].revents)
			say(heard);
		if (of[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			line[strcspn(line, "\n")] = 0;
			start(argv[3], line);
		}
		if (waitpid(-1, &status, WNOHANG) > 0)
			printf("ended %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	}
}
