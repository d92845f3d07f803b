#include "service/webhook_lanes.h"

#include "core/mem.h"

#include <assert.h>
#include <stdlib.h>

void lanes_init(struct lanes *l, uint64_t first_ms, uint64_t last_ms)
{
	*l = (struct lanes){.first_ms = first_ms, .last_ms = last_ms};
	l->turn_last = &l->turn;
}

/* ---- turns ---- */

static void wait_turn(struct lanes *l, struct lane *lane)
{
	assert(!lane->back);
	lane->next = NULL;
	lane->back = l->turn_last;
	*l->turn_last = lane;
	l->turn_last = &lane->next;
}

static void leave_turn(struct lanes *l, struct lane *lane)
{
	if (!lane->back)
		return;
	*lane->back = lane->next;
	if (lane->next)
		lane->next->back = lane->back;
	else
		l->turn_last = lane->back;
	lane->back = NULL;
}

static struct lane *find_or_make(struct lanes *l, struct str key)
{
	struct lane *lane = map_get(&l->by_key, key);
	if (lane)
		return lane;
	lane = mem_new(struct lane);
	lane->key = (struct str){mem_copy(key), key.n};
	lane->last = &lane->first;
	map_put(&l->by_key, lane->key, lane);
	return lane;
}

static void free_lane(struct lanes *l, struct lane *lane)
{
	leave_turn(l, lane);
	map_remove(&l->by_key, lane->key);
	free((char *)(uintptr_t)lane->key.p);
	free(lane);
}

static void set_resting(struct lanes *l, struct lane *lane, bool resting)
{
	l->resting += (size_t)(resting - lane->resting);
	lane->resting = resting;
}

/* An empty lane that nothing waits for is none. */
static void settle(struct lanes *l, struct lane *lane)
{
	if (lane->count || lane->sending || lane->asking)
		return;
	if (lane->more && !lane->back)
		wait_turn(l, lane);
	else if (!lane->more && lane->top > l->cursor)
		set_resting(l, lane, true);
	else if (!lane->more)
		free_lane(l, lane);
}

void lanes_put_end(struct lanes *l)
{
	struct lane *lane, *over = NULL;
	for (size_t i = 0; l->resting && (lane = map_next(&l->by_key, &i));) {
		if (!lane->resting || lane->top > l->cursor)
			continue;
		set_resting(l, lane, false);
		lane->next = over;
		over = lane;
	}
	while ((lane = over)) {
		over = lane->next;
		settle(l, lane);
	}
}

void lanes_free(struct lanes *l)
{
	struct lane *lane, *all = NULL;
	for (size_t i = 0; (lane = map_next(&l->by_key, &i));) {
		leave_turn(l, lane);
		lane->next = all;
		all = lane;
	}
	while ((lane = all)) {
		all = lane->next;
		for (struct lane_event *e; (e = lane->first);) {
			lane->first = e->next;
			free(e);
		}
		free_lane(l, lane);
	}
	map_free(&l->by_key);
	lanes_init(l, l->first_ms, l->last_ms);
}

/* ---- in ---- */

bool lanes_full(const struct lanes *l)
{
	return l->held >= LANES_HELD_MAX || l->bytes >= LANES_BYTES_MAX;
}

bool lanes_down(const struct lanes *l)
{
	return l->failures >= LANES_DOWN_AFTER;
}

static struct str put_text(char **to, struct str s)
{
	struct str copy = {*to, s.n};
	if (s.n)
		memcpy(*to, s.p, s.n);
	*to += s.n;
	return copy;
}

static struct lane_event *event_new(struct lane *lane, const struct lane_row *row)
{
	size_t bytes = sizeof(struct lane_event) + row->id.n + row->type.n + row->data.n;
	struct lane_event *e = mem_alloc(bytes);
	char *to = e->text;
	e->lane = lane;
	e->sequence = row->sequence;
	e->time = row->time;
	e->bytes = bytes;
	e->id = put_text(&to, row->id);
	e->type = put_text(&to, row->type);
	e->data = put_text(&to, row->data);
	return e;
}

void lanes_put(struct lanes *l, const struct lane_row *row, bool of_lane)
{
	struct lane *lane = find_or_make(l, row->key);
	if (!of_lane)
		l->cursor = row->sequence;
	if (row->sequence <= lane->top)
		return;
	set_resting(l, lane, false);
	bool holds = lane->count < (lane->failures ? 1 : LANE_HELD_MAX);
	if (!of_lane && (lane->more || !holds)) {
		lane->more = true;
		settle(l, lane);
		return;
	}
	struct lane_event *e = event_new(lane, row);
	*lane->last = e;
	lane->last = &e->next;
	lane->top = row->sequence;
	lane->count++;
	l->held++;
	l->bytes += e->bytes;
	if (!lane->back && !lane->sending && !lane->asking)
		wait_turn(l, lane);
}

/* ---- out ---- */

struct lane_event *lanes_take(struct lanes *l, uint64_t now_ms)
{
	bool down = lanes_down(l);
	if (down && (l->sending || now_ms < l->due_ms))
		return NULL;
	for (struct lane *lane = l->turn; lane; lane = lane->next) {
		if (!lane->first || (!down && now_ms < lane->due_ms))
			continue;
		leave_turn(l, lane);
		lane->sending = true;
		l->sending++;
		return lane->first;
	}
	return NULL;
}

static struct lane *came_back(struct lanes *l, const struct lane_event *e)
{
	struct lane *lane = e->lane;
	assert(lane->sending && lane->first == e);
	lane->sending = false;
	l->sending--;
	return lane;
}

void lanes_taken(struct lanes *l, struct lane_event *e)
{
	struct lane *lane = came_back(l, e);
	lane->first = e->next;
	if (!lane->first)
		lane->last = &lane->first;
	lane->count--;
	l->held--;
	l->bytes -= e->bytes;
	lane->failures = 0;
	lane->due_ms = 0;
	if (lanes_down(l))
		lanes_hurry(l);
	l->failures = 0;
	if (lane->count)
		wait_turn(l, lane);
	else
		settle(l, lane);
}

/* Between half of it and all, so that those who failed together do not come back together. */
static uint64_t pause_ms(const struct lanes *l, unsigned failures, unsigned random)
{
	uint64_t ms = l->first_ms;
	for (unsigned i = 1; i < failures && ms < l->last_ms; i++)
		ms *= 2;
	if (ms > l->last_ms)
		ms = l->last_ms;
	return ms / 2 + ms / 2 * random / 65535;
}

void lanes_refused(struct lanes *l, struct lane_event *e, uint64_t now_ms, unsigned random)
{
	struct lane *lane = came_back(l, e);
	lane->failures++;
	l->failures++;
	lane->due_ms = now_ms + pause_ms(l, lane->failures, random);
	l->due_ms = now_ms + pause_ms(l, l->failures, random);
	wait_turn(l, lane);
}

uint64_t lanes_due(const struct lanes *l)
{
	uint64_t due = UINT64_MAX;
	if (lanes_down(l))
		return l->sending || !l->held ? due : l->due_ms;
	for (const struct lane *lane = l->turn; lane; lane = lane->next)
		if (lane->first && lane->due_ms < due)
			due = lane->due_ms;
	return due;
}

void lanes_hurry(struct lanes *l)
{
	l->due_ms = 0;
	for (struct lane *lane = l->turn; lane; lane = lane->next)
		lane->due_ms = 0;
}

/* ---- what was left out ---- */

struct lane *lanes_lacking(struct lanes *l)
{
	for (struct lane *lane = l->turn; lane; lane = lane->next) {
		if (lane->first || !lane->more)
			continue;
		leave_turn(l, lane);
		lane->asking = true;
		return lane;
	}
	return NULL;
}

void lanes_asked(struct lanes *l, struct str key, bool more)
{
	struct lane *lane = map_get(&l->by_key, key);
	if (!lane)
		return;
	lane->asking = false;
	lane->more = more;
	if (lane->count && !lane->back && !lane->sending)
		wait_turn(l, lane);
	else
		settle(l, lane);
}
