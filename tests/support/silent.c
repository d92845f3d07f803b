/* A client that goes silent as one does whose cable is pulled: its kernel acknowledges nothing any more.
 *   silent PORT FILE   sends the file's bytes, copies what comes to its output, and from the line
 *                      "silence" on its input on drops every packet that comes (a filter on its socket)
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void fall_silent(int fd)
{
	struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog filter = {.len = 1, .filter = nothing};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)))
		die("SO_ATTACH_FILTER");
}

int main(int argc, char **argv)
{
	char bytes[65536];
	if (argc != 3)
		return 2;
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), file = open(argv[2], O_RDONLY);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	for (ssize_t n; (n = read(file, bytes, sizeof(bytes))) > 0;)
		if (write(fd, bytes, (size_t)n) != n)
			die("write");
	struct pollfd both[] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};
	while (poll(both, 2, -1) > 0) {
		ssize_t n = both[0].revents ? read(fd, bytes, sizeof(bytes)) : 0;
		if (both[0].revents && (n <= 0 || write(1, bytes, (size_t)n) != n))
			return 0;
		if (!both[1].revents)
			continue;
		if (read(0, bytes, sizeof(bytes)) <= 0)
			return 0;
		fall_silent(fd);
		both[0].fd = -1;
	}
	return 0;
}
