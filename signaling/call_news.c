#include "signaling/call_news.h"

#include "core/mem.h"

static void run(struct post *p)
{
	struct call_news *n = (struct call_news *)p;
	n->run(n);
	free(n);
}

void call_news_send(struct worker *to, struct call_news news, const char *id, struct str text)
{
	struct call_news *n = mem_alloc(sizeof(*n) + text.n);
	*n = news;
	n->post.run = run;
	memcpy(n->id, id, sizeof(n->id));
	if (text.n)
		memcpy(n->bytes, text.p, text.n);
	n->text = (struct str){n->bytes, text.n};
	worker_post(to, &n->post);
}
