/* What each type of key looks like: how it is called, and for texts what will do. */
#include "auth/mapping.h"
#include "core/ip.h"
#include "core/principal.h"
#include "service/config_parts.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

typedef bool check(const struct config_key *key, struct str text, struct config_why *why);

bool config_refuse(struct config_why *why, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);
	return false;
}

void config_instead(struct config_why *why, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(why->instead, sizeof why->instead, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof why->instead)
		why->instead[0] = 0; /* half an answer is none */
}

void config_plain(char *text, size_t n)
{
	bool sound = str_utf8_valid((struct str){text, n});
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\t')
			text[i] = ' ';
		else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !sound))
			text[i] = '?';
		else if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0) /* a control character */
			text[i] = text[i + 1] = '?';
	}
}

struct config_quote config_quote(struct str text)
{
	struct config_quote quote;
	size_t n = text.n < 60 ? text.n : 60;
	while (n && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
		n--;
	if (n)
		memcpy(quote.text, text.p, n);
	config_plain(quote.text, n);
	snprintf(quote.text + n, sizeof quote.text - n, "%s", n < text.n ? "…" : "");
	return quote;
}

/* The text without this in front, when it has it there. */
static bool take_off(struct str *text, const char *front)
{
	struct str prefix = str_of(front);
	if (!str_starts(*text, prefix))
		return false;
	*text = (struct str){text->p + prefix.n, text->n - prefix.n};
	return true;
}

static bool only(struct str text, const char *more)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && !(c && strchr(more, c)))
			return false;
	}
	return true;
}

static bool is_port(struct str text)
{
	unsigned port = 0;
	if (!text.n || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	return port <= 65535;
}

/* Splits at the last colon that is not inside brackets. Without one, the port is empty. */
static void split_port(struct str text, struct str *ret_host, struct str *ret_port)
{
	*ret_host = text;
	*ret_port = (struct str){"", 0};
	for (size_t i = text.n; i-- > 0 && text.p[i] != ']';) {
		if (text.p[i] == ':') {
			*ret_host = (struct str){text.p, i};
			*ret_port = (struct str){text.p + i + 1, text.n - i - 1};
			return;
		}
	}
}

static bool is_ip(struct str host)
{
	char name[INET6_ADDRSTRLEN];
	unsigned char binary[16];
	bool six = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	if (six)
		host = (struct str){host.p + 1, host.n - 2};
	if (host.n >= sizeof name)
		return false;
	memcpy(name, host.p, host.n);
	name[host.n] = 0;
	return inet_pton(six ? AF_INET6 : AF_INET, name, binary) == 1;
}

static bool check_address(const struct config_key *key, struct str text, struct config_why *why)
{
	struct str host, port;
	(void)key;
	if (!text.n)
		return true;
	split_port(text, &host, &port);
	if (is_ip(host) && is_port(port))
		return true;
	if (is_port(port) && str_is(host, "localhost"))
		config_instead(why, "127.0.0.1:" STR_FMT, STR_ARG(port));
	else if (is_port(port) && str_is(host, "*"))
		config_instead(why, "0.0.0.0:" STR_FMT, STR_ARG(port));
	else if (is_port(port) && !host.n)
		config_instead(why, "127.0.0.1:" STR_FMT, STR_ARG(port));
	else if (is_port(text))
		config_instead(why, "127.0.0.1:" STR_FMT, STR_ARG(text));
	return config_refuse(why,
		"`%s` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		config_quote(text).text);
}

/* What was meant: an address with a port or in brackets, or the machine's own name. */
static void nearest_network(struct str text, struct config_why *why)
{
	struct str host, port;
	split_port(text, &host, &port);
	if (str_is(host, "localhost"))
		config_instead(why, "127.0.0.1");
	else if (is_ip(host) && host.p[0] == '[')
		config_instead(why, STR_FMT, (int)host.n - 2, host.p + 1);
	else if (is_ip(host))
		config_instead(why, STR_FMT, STR_ARG(host));
}

static bool check_network(const struct config_key *key, struct str text, struct config_why *why)
{
	struct network network;
	char right[NETWORK_TEXT_MAX];
	bool exact = false;
	(void)key;
	if (!network_read(text, &network, &exact)) {
		nearest_network(text, why);
		return config_refuse(why,
			"`%s` is neither an address nor a network: write it as in 192.0.2.7, "
			"10.0.0.0/8 or fd00::/8",
			config_quote(text).text);
	}
	if (exact)
		return true;
	network_write(&network, right);
	config_instead(why, "%s", right);
	return config_refuse(why, "`%s` has bits set behind its length", config_quote(text).text);
}

/* HOST or HOST:PORT as a URL has it. */
static bool is_authority(struct str text)
{
	struct str host, port;
	split_port(text, &host, &port);
	bool has_port = host.n < text.n;
	if (!host.n || (has_port && !is_port(port)))
		return false;
	return host.p[0] == '[' ? is_ip(host) : only(host, "-._");
}

static bool has_upper(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] >= 'A' && text.p[i] <= 'Z')
			return true;
	return false;
}

/* The scheme's own port, which browsers leave out. */
static const char *needless_port(struct str scheme)
{
	return str_is(scheme, "https") ? ":443" : str_is(scheme, "http") ? ":80" : "";
}

static bool check_origin(const struct config_key *key, struct str text, struct config_why *why)
{
	const char *at = text.n ? memmem(text.p, text.n, "://", 3) : NULL;
	struct str scheme = {text.p, at ? (size_t)(at - text.p) : 0};
	struct str rest = {at ? at + 3 : "", at ? text.n - scheme.n - 3 : 0};
	struct str bare = rest;
	struct str spare = str_of(needless_port(scheme));
	(void)key;
	while (bare.n && bare.p[bare.n - 1] == '/')
		bare.n--;
	if (spare.n && bare.n > spare.n && !memcmp(bare.p + bare.n - spare.n, spare.p, spare.n))
		bare.n -= spare.n;
	bool sound = scheme.n && only(scheme, "+-.") && is_authority(bare);
	if (sound && bare.n == rest.n && !has_upper(text))
		return true;
	if (sound && !has_upper(text))
		config_instead(why, STR_FMT "://" STR_FMT, STR_ARG(scheme), STR_ARG(bare));
	return config_refuse(why,
		"`%s` is not an origin as browsers send it: scheme and host in small letters, and "
		"the port unless it is the usual one, as in https://app.example.com",
		config_quote(text).text);
}

static bool is_loopback(struct str authority)
{
	struct str host, port;
	split_port(authority, &host, &port);
	return str_is(host, "localhost") || str_is(host, "[::1]") ||
		(str_starts(host, STR("127.")) && is_ip(host));
}

/* The authority of an http(s) address, or an empty text when it is none. */
static struct str web_authority(struct str text, const char *refused, bool *ret_secure)
{
	static const struct str none = {"", 0};
	*ret_secure = take_off(&text, "https://");
	if (!*ret_secure && !take_off(&text, "http://"))
		return none;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7f || strchr(refused, text.p[i]))
			return none;
	const char *slash = memchr(text.p, '/', text.n);
	struct str authority = {text.p, slash ? (size_t)(slash - text.p) : text.n};
	return is_authority(authority) ? authority : none;
}

static bool check_url(const struct config_key *key, struct str text, struct config_why *why)
{
	bool secure;
	(void)key;
	if (!text.n || web_authority(text, "?#@\"<>\\^`{|}", &secure).n)
		return true;
	return config_refuse(why,
		"`%s` is not the address of an issuer: write it as in https://calls.example.com, "
		"perhaps with a path",
		config_quote(text).text);
}

static bool check_ask_url(const struct config_key *key, struct str text, struct config_why *why)
{
	bool secure = true;
	struct str authority = web_authority(text, "#@\"<>\\^`{|}", &secure);
	(void)key;
	if (!text.n || (authority.n && (secure || is_loopback(authority))))
		return true;
	if (authority.n && !secure)
		config_instead(why, "https" STR_FMT, (int)text.n - 4, text.p + 4);
	return config_refuse(why,
		"`%s` is not an address to ask an issuer at: it begins with https:// (with http:// "
		"only on this machine)",
		config_quote(text).text);
}

static bool check_claim(const struct config_key *key, struct str text, struct config_why *why)
{
	(void)key;
	return !text.n || claim_path_valid(text) ||
		config_refuse(why,
			"`%s` is no path to a claim: write names with dots between them, as in "
			"realm_access.roles, and a dot of a name itself with a backslash before it",
			config_quote(text).text);
}

static bool check_role(const struct config_key *key, struct str text, struct config_why *why)
{
	struct str role, wrong;
	uint32_t scopes;
	(void)key;
	if (role_scopes_read(text, &role, &scopes, &wrong))
		return true;
	if (!wrong.n)
		return config_refuse(why,
			"`%s` gives no role a scope: write it as in moderator=rooms:join "
			"rooms:moderate",
			config_quote(text).text);
	struct nearest n = nearest_to(wrong);
	for (unsigned bit = 0; bit < SCOPE_BITS; bit++)
		nearest_try(&n, str_of(scope_word((enum scope)(1u << bit))));
	if (n.word.n)
		config_instead(why, STR_FMT, STR_ARG(n.word));
	return config_refuse(why, "`%s` is no scope", config_quote(wrong).text);
}

static bool check_ice_url(const struct config_key *key, struct str text, struct config_why *why)
{
	struct str rest = text;
	(void)key;
	bool scheme = take_off(&rest, "stun:") || take_off(&rest, "stuns:") ||
		take_off(&rest, "turn:") || take_off(&rest, "turns:");
	bool sound = scheme && rest.n && rest.p[0] != '/' && only(rest, "-._:[]?=");
	if (sound)
		return true;
	if (take_off(&rest, "//") && rest.n && scheme)
		config_instead(
			why, STR_FMT STR_FMT, (int)(text.n - rest.n - 2), text.p, STR_ARG(rest));
	return config_refuse(why,
		"`%s` is not the address of a STUN or TURN server: write it as in "
		"turn:turn.example.com:3478",
		config_quote(text).text);
}

static bool check_name(const struct config_key *key, struct str text, struct config_why *why)
{
	(void)key;
	return only(text, "-._") ||
		config_refuse(why, "`%s` is not a name: only letters, digits, `.`, `_` and `-`",
			config_quote(text).text);
}

bool config_next_word(const char **words, struct str *ret_word)
{
	const char *p = *words + strspn(*words, "|");
	*ret_word = (struct str){p, strcspn(p, "|")};
	*words = p + ret_word->n;
	return ret_word->n > 0;
}

static bool check_word(const struct config_key *key, struct str text, struct config_why *why)
{
	struct nearest n = nearest_to(text);
	struct buf all = BUF_INIT(256);
	struct str word;
	for (const char *words = key->of; config_next_word(&words, &word);) {
		if (str_eq(text, word)) {
			buf_free(&all);
			return true;
		}
		nearest_try(&n, word);
		if (!n.word.n && (str_starts(text, word) || (text.n > 1 && str_starts(word, text))))
			n.word = word; /* `warning` for warn */
		buf_addf(&all, "%s" STR_FMT, all.n ? ", " : "", STR_ARG(word));
	}
	if (n.word.n)
		config_instead(why, STR_FMT, STR_ARG(n.word));
	config_refuse(why, "`%s` is none of %s", config_quote(text).text, buf_str(&all).p);
	buf_free(&all);
	return false;
}

static const struct {
	const char *noun;
	check *check;
} types[CONFIG_TYPES] = {
	[CONFIG_BOOL] = {"true or false", NULL},
	[CONFIG_INT] = {"number", NULL},
	[CONFIG_DURATION] = {"duration", NULL},
	[CONFIG_SIZE] = {"size", NULL},
	[CONFIG_WORD] = {"one of", check_word},
	[CONFIG_TEXT] = {"text", NULL},
	[CONFIG_SECRET] = {"secret", NULL},
	[CONFIG_NAME] = {"name", check_name},
	[CONFIG_PATH] = {"file", NULL},
	[CONFIG_DIRECTORY] = {"directory", NULL},
	[CONFIG_ADDRESS] = {"ADDR:PORT", check_address},
	[CONFIG_URL] = {"URL", check_url},
	[CONFIG_ASK_URL] = {"URL", check_ask_url},
	[CONFIG_CLAIM] = {"path to a claim", check_claim},
	[CONFIG_TEXTS] = {"list of texts", NULL},
	[CONFIG_CLAIMS] = {"list of paths to claims", check_claim},
	[CONFIG_ROLES] = {"list of ROLE=SCOPE SCOPE", check_role},
	[CONFIG_WORDS] = {"list of", check_word},
	[CONFIG_ADDRESSES] = {"list of ADDR:PORT", check_address},
	[CONFIG_NETWORKS] = {"list of addresses and networks", check_network},
	[CONFIG_ORIGINS] = {"list of origins", check_origin},
	[CONFIG_ICE_URLS] = {"list of URLs", check_ice_url},
};

bool config_is_list(const struct config_key *key)
{
	return key->type >= CONFIG_TEXTS;
}

bool config_is_secret(const struct config_key *key)
{
	return key->type == CONFIG_SECRET;
}

/* Unicode's ends of lines, which YAML would count. (U+0085 is a control character.) */
static bool has_separator(struct str text)
{
	return memmem(text.p, text.n, "\xe2\x80\xa8", 3) ||
		memmem(text.p, text.n, "\xe2\x80\xa9", 3);
}

bool config_check_text(const struct config_key *key, struct str text, struct config_why *why)
{
	int64_t least = config_is_list(key) ? 1 : key->min;
	int64_t most = config_is_list(key) ? 1024 : key->max;
	if (!str_utf8_valid(text))
		return config_refuse(why, "the text is not UTF-8");
	if (str_has_control(text) || has_separator(text))
		return config_refuse(why, "the text holds a control character");
	if (key->type != CONFIG_WORD && (int64_t)text.n < least)
		return config_refuse(why, "the text is empty");
	if (key->type != CONFIG_WORD && (int64_t)text.n > most)
		return config_refuse(why, "the text is too long: %zu bytes of at most %lld", text.n,
			(long long)most);
	return !types[key->type].check || types[key->type].check(key, text, why);
}

void config_describe(const struct config_key *key, struct buf *out)
{
	buf_addf(out, "%s", types[key->type].noun);
	struct str word;
	const char *between = " ";
	if (key->type != CONFIG_WORD && key->type != CONFIG_WORDS)
		return;
	for (const char *words = key->of; config_next_word(&words, &word); between = ", ")
		buf_addf(out, "%s" STR_FMT, between, STR_ARG(word));
}
