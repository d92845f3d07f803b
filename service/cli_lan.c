#include "service/cli_lan.h"

#include "core/ip.h"
#include "core/mem.h"
#include "service/own_certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <qrencode.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORT = 8443, WORDS = 4, QUIET_ZONE = 4, WORD_MAX = 8192 };

struct lan {
	struct ip ip;
	char fingerprint[FINGERPRINT_TEXT];
	char *words[WORDS];
	char **argv;
};

bool lan_option(const char *argument, const char **ret_address)
{
	if (strcmp(argument, "--lan") != 0 && !str_starts(str_of(argument), STR("--lan=")))
		return false;
	*ret_address = argument[5] ? argument + 6 : NULL;
	return true;
}

/* ---- which address ---- */

/* The address that this machine would use to go far away: nothing is sent, only the way is asked for.
 * 192.0.2.1 is nobody's (RFC 5737). */
static bool by_route(struct ip *ret)
{
	struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in own = {0};
	socklen_t n = sizeof(own);
	inet_pton(AF_INET, "192.0.2.1", &far.sin_addr);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&far, sizeof(far)) &&
		!getsockname(fd, (struct sockaddr *)&own, &n) &&
		ntohl(own.sin_addr.s_addr) >> 24 != 127;
	if (fd >= 0)
		close(fd);
	return ok && ip_of((struct sockaddr *)&own, ret);
}

/* Without a way far off: that of the first network card. */
static bool by_card(struct ip *ret)
{
	struct ifaddrs *all = NULL;
	bool found = false;
	if (getifaddrs(&all))
		return false;
	for (struct ifaddrs *one = all; one && !found; one = one->ifa_next)
		if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET &&
			(one->ifa_flags & IFF_UP) && !(one->ifa_flags & IFF_LOOPBACK))
			found = ip_of(one->ifa_addr, ret);
	freeifaddrs(all);
	return found;
}

/* "192.168.1.5" or "192.168.1.5:8443". */
static bool read_address(const char *text, struct ip *ret, unsigned *ret_port)
{
	struct str address = {text, strcspn(text, ":")};
	const char *digits = text + address.n + (text[address.n] == ':');
	unsigned long port = PORT;
	if (text[address.n]) {
		char *end;
		errno = 0;
		port = strtoul(digits, &end, 10);
		if (errno || *end || digits[0] < '1' || digits[0] > '9' || port > 65535)
			return false;
	}
	*ret_port = (unsigned)port;
	return ip_read(address, ret) && ip_is_v4(ret);
}

static enum err choose(const char *address, struct ip *ret, unsigned *ret_port, struct buf *why)
{
	*ret_port = PORT;
	if (address && !read_address(address, ret, ret_port)) {
		buf_addf(why,
			"--lan=%s is no address; write one of this machine's, as in "
			"--lan=192.168.1.5 or --lan=192.168.1.5:8443\n",
			address);
		return ERR_REQUEST;
	}
	if (address || by_route(ret) || by_card(ret))
		return ERR_OK;
	buf_addf(why,
		"this machine is in no network: connect it to one, or name an address of it "
		"with --lan=ADDRESS\n");
	return ERR_PARAMS;
}

/* ---- the options that it stands for ---- */

static char *word(const char *option, const char *value)
{
	struct buf b = BUF_INIT(WORD_MAX);
	buf_addf(&b, "--%s=%s", option, value);
	return buf_take(&b);
}

static void write_words(struct lan *lan, const char *address, unsigned port, const char *file)
{
	char listen[64], url[64];
	snprintf(listen, sizeof(listen), "%s:%u", address, port);
	snprintf(url, sizeof(url), "https://%s:%u", address, port);
	lan->words[0] = word("server.listen", listen);
	lan->words[1] = word("tls.certificate", file);
	lan->words[2] = word("tls.key", file);
	lan->words[3] = word("issuer.url", url);
}

static void put_first(struct lan *lan, struct config_input *input)
{
	lan->argv = mem_alloc((WORDS + (size_t)input->argc + 1) * sizeof(*lan->argv));
	memcpy(lan->argv, lan->words, sizeof(lan->words));
	memcpy(lan->argv + WORDS, input->argv, (size_t)input->argc * sizeof(*lan->argv));
	input->argv = lan->argv;
	input->argc += WORDS;
}

static enum err prepare(struct lan *lan, const char *address, const char *directory,
	struct config_input *input, struct buf *why)
{
	unsigned port;
	char text[IP_TEXT_MAX], file[WORD_MAX];
	enum err err = choose(address, &lan->ip, &port, why);
	if (err)
		return err;
	ip_write(&lan->ip, text);
	snprintf(file, sizeof(file), "%s/lan-%s.pem", directory, text);
	if (mkdir(directory, 0700) && errno != EEXIST) {
		buf_addf(
			why, "cannot make the data directory %s: %s\n", directory, strerror(errno));
		return ERR_INTERNAL;
	}
	err = own_certificate(file, &lan->ip, lan->fingerprint, why);
	if (err)
		return err;
	write_words(lan, text, port, file);
	put_first(lan, input);
	return ERR_OK;
}

enum err lan_prepare(
	const char *address, struct config_input *input, struct lan **ret_lan, struct buf *why)
{
	struct config *config = NULL;
	enum err err = config_load(input, &config, why); /* for the data directory */
	if (err)
		return err;
	struct lan *lan = mem_new(struct lan);
	err = prepare(lan, address, config->data.directory, input, why);
	config_free(&config);
	if (err)
		lan_free(&lan);
	else
		*ret_lan = lan;
	return err;
}

void lan_free(struct lan **lan)
{
	if (!*lan)
		return;
	for (size_t i = 0; i < WORDS; i++)
		free((*lan)->words[i]);
	free((*lan)->argv);
	free(*lan);
	*lan = NULL;
}

/* ---- what is said ---- */

static bool is_light(const QRcode *code, int x, int y)
{
	bool inside = x >= 0 && y >= 0 && x < code->width && y < code->width;
	return !inside || !(code->data[y * code->width + x] & 1);
}

/* Two rows in one line, by half blocks. What is light is written, white on black where the terminal has
 * colours, because a dark code on light is what every camera reads. */
static void print_code(const char *text)
{
	static const char *const blocks[] = {" ", "▄", "▀", "█"};
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
	bool colours = isatty(STDOUT_FILENO);
	if (!code)
		return; /* the address stands above */
	for (int y = -QUIET_ZONE; y < code->width + QUIET_ZONE; y += 2) {
		printf("    %s", colours ? "\033[97;40m" : "");
		for (int x = -QUIET_ZONE; x < code->width + QUIET_ZONE; x++)
			printf("%s",
				blocks[(is_light(code, x, y) ? 2 : 0) +
					(is_light(code, x, y + 1) ? 1 : 0)]);
		printf("%s\n", colours ? "\033[0m" : "");
	}
	QRcode_free(code);
}

void lan_greet(const struct lan *lan, const struct config *config)
{
	const char *url = config->issuer.url;
	printf("\nSignalbox %s is ready for the devices in this network. Open this address, or "
	       "point a telephone's\ncamera at the code:\n\n    %s/\n\n",
		SIGNALBOX_VERSION, url);
	print_code(url);
	printf("\nThis machine made its certificate itself, so each browser warns once. Choose "
	       "\"Advanced\" there (iPhone:\n\"Show details\"), then to go on. To be sure that it "
	       "is this machine, let the browser show the\ncertificate and compare its SHA-256 "
	       "fingerprint:\n\n    %.*s\n    %s\n\n",
		FINGERPRINT_TEXT / 2, lan->fingerprint, lan->fingerprint + FINGERPRINT_TEXT / 2);
	if (config->issuer.sign_up == CONFIG_SIGN_UP_OPEN)
		printf("Whoever is in this network can make an account. ");
	printf("Ctrl+C ends it.\n\n");
	fflush(stdout);
}
