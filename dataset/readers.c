#include "dataset/attached.h"

#include "core/clock.h"

/* Connections for reading, of one database: the threads of the pool take them and give them back. What has been
 * prepared on them stays, so the one that was used last is taken first. */

enum err readings_take(
	struct database *db, struct reading **ret, const struct store_trouble **ret_trouble)
{
	unsigned file = atomic_load(&db->file);
	pthread_mutex_lock(&db->lock);
	struct reading *r = NULL;
	if (db->reading_count && db->readings[db->reading_count - 1].file == file)
		r = db->readings[--db->reading_count].reading;
	pthread_mutex_unlock(&db->lock);
	if (!r)
		return reading_open(db->path, ret, ret_trouble);
	*ret = r;
	return ERR_OK;
}

void readings_give(struct database *db, struct reading *r, unsigned file, bool sound)
{
	pthread_mutex_lock(&db->lock);
	if (sound && file == atomic_load(&db->file) && db->reading_count < READINGS_MAX) {
		db->readings[db->reading_count++] = (struct kept_reading){
			.reading = r, .file = file, .since = clock_steady_ms()};
		r = NULL;
	}
	pthread_mutex_unlock(&db->lock);
	reading_close(&r);
}

/* The one that has been unused for longest is the first. */
static struct reading *take_unused(struct database *db, int64_t since)
{
	struct reading *r = NULL;
	pthread_mutex_lock(&db->lock);
	if (db->reading_count && db->readings[0].since <= since) {
		r = db->readings[0].reading;
		db->reading_count--;
		memmove(db->readings, db->readings + 1, db->reading_count * sizeof(*db->readings));
	}
	pthread_mutex_unlock(&db->lock);
	return r;
}

void readings_close(struct database *db, int64_t unused_since)
{
	for (struct reading *r; (r = take_unused(db, unused_since));)
		reading_close(&r);
}
