#include "core/pool.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/worker.h"

#include <assert.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Many readers take one job each: not an inbox, whose one reader takes all. */

enum { NICEST = 19 }; /* the lowest priority there is */

struct pool {
	char name[16]; /* as the kernel shows it */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct post *first, **last;
	size_t waiting, waiting_max;
	bool ending;
	int count;
	pthread_t threads[];
};

static void come_home(struct post *p)
{
	struct job *j = (struct job *)p;
	j->done(j);
}

/* NULL when the pool ends and nothing is left. */
static struct job *next_job(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->ending)
		pthread_cond_wait(&pool->work, &pool->lock);
	struct post *p = pool->first;
	if (p) {
		pool->first = p->next;
		pool->waiting--;
		if (!pool->first)
			pool->last = &pool->first;
	}
	pthread_mutex_unlock(&pool->lock);
	return (struct job *)p;
}

static void *pool_main(void *context)
{
	struct pool *pool = context;
	pthread_setname_np(pthread_self(), pool->name);
	id_t self = (id_t)gettid(); /* on Linux a thread has a priority of its own */
	setpriority(PRIO_PROCESS, self, NICEST);
	for (struct job *j; (j = next_job(pool));) {
		j->run(j);
		j->post.run = come_home;
		worker_post(worker_at(j->worker), &j->post);
	}
	return NULL;
}

struct pool *pool_new(const char *name, int threads, size_t queue_max)
{
	assert(threads > 0);
	struct pool *pool = mem_alloc(sizeof(*pool) + (size_t)threads * sizeof(*pool->threads));
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->last = &pool->first;
	pool->waiting_max = queue_max;
	while (pool->count < threads &&
		!pthread_create(&pool->threads[pool->count], NULL, pool_main, pool))
		pool->count++;
	if (pool->count < threads) {
		log_error("the pool's threads cannot be started", LOG_TEXT("pool", name));
		pool_free(&pool);
	}
	return pool;
}

void pool_free(struct pool **ret_pool)
{
	struct pool *pool = *ret_pool;
	if (!pool)
		return;
	*ret_pool = NULL;
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	while (pool->count)
		pthread_join(pool->threads[--pool->count], NULL);
	assert(!pool->first);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

enum err pool_run(struct pool *pool, struct job *j)
{
	enum err err = ERR_OVERLOADED;
	assert(worker_self());
	int worker = worker_self()->index;
	pthread_mutex_lock(&pool->lock);
	if (pool->waiting < pool->waiting_max) {
		j->worker = worker;
		j->post.next = NULL;
		*pool->last = &j->post;
		pool->last = &j->post.next;
		pool->waiting++;
		pthread_cond_signal(&pool->work);
		err = ERR_OK;
	}
	pthread_mutex_unlock(&pool->lock);
	return err;
}
