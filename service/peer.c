#include "service/peer.h"

#include "core/log.h"
#include "core/mem.h"
#include "service/forwarded.h"
#include "service/quota.h"

#include <stdatomic.h>
#include <uv.h>

static _Thread_local size_t here;

size_t peer_count(void)
{
	return here;
}

static enum quota_room count(struct peer *p)
{
	enum quota_room room = p->internal ? QUOTA_ROOM : quota_connect(str_of(p->text));
	p->counted = !p->internal && room != QUOTA_PACKED;
	p->crowded = room != QUOTA_ROOM;
	return room;
}

static void discount(struct peer *p)
{
	if (p->counted)
		quota_disconnect(str_of(p->text));
	p->counted = false;
}

struct peer *peer_new(const struct ip *socket, bool internal)
{
	struct peer *p = mem_new(struct peer);
	here++;
	p->born_ns = uv_hrtime();
	p->socket = *socket;
	p->internal = internal;
	ip_write(socket, p->text);
	if (count(p) == QUOTA_PACKED)
		peer_free(&p);
	return p;
}

void peer_free(struct peer **peer)
{
	struct peer *p = *peer;
	*peer = NULL;
	if (!p)
		return;
	here--;
	discount(p);
	principal_unref(&p->token);
	free(p->unproven);
	free(p);
}

/* Once: anybody can send one, but a proxy that was forgotten makes all clients one. */
static void say_untrusted(const struct peer *p)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	if (!atomic_flag_test_and_set(&said))
		log_info("X-Forwarded-For of an address that is no trusted proxy is not read",
			LOG_TEXT("address", p->text),
			LOG_TEXT("hint", "if it is your proxy: server.trusted_proxies"));
}

void peer_forwarded(struct peer *p, struct str header)
{
	if (header.n && !p->internal && !forwarded_trusts(&p->socket))
		say_untrusted(p);
	struct ip client = forwarded_client(&p->socket, header);
	if (ip_eq(&client, &p->socket))
		return;
	discount(p);
	ip_write(&client, p->text);
	count(p);
}
