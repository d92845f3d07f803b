#include "service/proxy_header.h"

enum { LINE_MAX_BYTES = 107, V2_HEAD = 16, V2_TCP4 = 12, V2_TCP6 = 36 };

static const char v1_mark[] = "PROXY ";
static const char v2_mark[] = "\r\n\r\n\0\r\nQUIT\n";
enum { V1_MARK = sizeof(v1_mark) - 1, V2_MARK = sizeof(v2_mark) - 1 };

static bool begins(struct str bytes, const char *mark, size_t n)
{
	return memcmp(bytes.p, mark, bytes.n < n ? bytes.n : n) == 0;
}

/* Takes the text before the next space, or all. */
static struct str take_word(struct str *rest)
{
	const char *space = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
	struct str word = {rest->p, space ? (size_t)(space - rest->p) : rest->n};
	size_t step = word.n + (space ? 1 : 0);
	*rest = (struct str){rest->p + step, rest->n - step};
	return word;
}

static bool is_port(struct str text)
{
	unsigned n = 0;
	if (!text.n || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.p[i] - '0');
	}
	return n <= 65535;
}

static enum proxy_word read_line(struct str line, struct proxy_header *ret)
{
	line = (struct str){line.p + V1_MARK, line.n - V1_MARK};
	struct str protocol = take_word(&line);
	if (str_is(protocol, "UNKNOWN"))
		return PROXY_DONE;
	bool six = str_is(protocol, "TCP6");
	if (!six && !str_is(protocol, "TCP4"))
		return PROXY_BAD;
	struct ip from, to;
	struct str source = take_word(&line), destination = take_word(&line);
	struct str source_port = take_word(&line);
	bool of_family = (memchr(source.p, ':', source.n) != NULL) == six &&
		(memchr(destination.p, ':', destination.n) != NULL) == six;
	if (!ip_read(source, &from) || !ip_read(destination, &to) || !of_family ||
		!is_port(source_port) || !is_port(line))
		return PROXY_BAD;
	ret->known = true;
	ret->client = from;
	return PROXY_DONE;
}

static enum proxy_word read_v1(struct str bytes, struct proxy_header *ret)
{
	size_t n = bytes.n < LINE_MAX_BYTES ? bytes.n : LINE_MAX_BYTES;
	const char *cr = memchr(bytes.p, '\r', n);
	size_t line = cr ? (size_t)(cr - bytes.p) : n;
	if (memchr(bytes.p, '\n', line) || memchr(bytes.p, 0, line))
		return PROXY_BAD;
	if (!cr || line + 1 == bytes.n)
		return bytes.n >= LINE_MAX_BYTES ? PROXY_BAD : PROXY_MORE;
	if (cr[1] != '\n' || line + 2 > LINE_MAX_BYTES)
		return PROXY_BAD;
	ret->length = line + 2;
	return read_line((struct str){bytes.p, line}, ret);
}

static enum proxy_word read_v2(struct str bytes, struct proxy_header *ret)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	if (bytes.n > V2_MARK && p[V2_MARK] >> 4 != 2)
		return PROXY_BAD;
	if (bytes.n > V2_MARK && (p[V2_MARK] & 15) > 1)
		return PROXY_BAD;
	if (bytes.n < V2_HEAD)
		return PROXY_MORE;
	bool local = (p[V2_MARK] & 15) == 0;
	bool four = p[13] == 0x11, six = p[13] == 0x21; /* TCP over each */
	size_t length = (size_t)(p[14] << 8 | p[15]);
	if (V2_HEAD + length > PROXY_HEADER_MAX || p[13] >> 4 > 3 || (p[13] & 15) > 2)
		return PROXY_BAD;
	if (!local && ((four && length < V2_TCP4) || (six && length < V2_TCP6)))
		return PROXY_BAD;
	if (bytes.n < V2_HEAD + length)
		return PROXY_MORE;
	ret->length = V2_HEAD + length;
	ret->known = !local && (four || six);
	static const struct ip v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
	ret->client = v4;
	if (ret->known && six)
		memcpy(ret->client.bytes, p + V2_HEAD, sizeof(ret->client.bytes));
	else if (ret->known)
		memcpy(ret->client.bytes + 12, p + V2_HEAD, 4);
	return PROXY_DONE;
}

enum proxy_word proxy_header_read(struct str bytes, struct proxy_header *ret)
{
	struct proxy_header header = {0};
	enum proxy_word word = PROXY_BAD;
	if (!bytes.n)
		return PROXY_MORE;
	if (begins(bytes, v1_mark, V1_MARK))
		word = bytes.n < V1_MARK ? PROXY_MORE : read_v1(bytes, &header);
	else if (begins(bytes, v2_mark, V2_MARK))
		word = read_v2(bytes, &header);
	if (word == PROXY_DONE)
		*ret = header;
	return word;
}
