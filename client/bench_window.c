#include "client/bench_parts.h"
#include "client/process.h"

enum { NUMBER_DIGITS = 8 };

void window_plan(struct window *w, const struct bench *b)
{
	uint64_t now = load_clock();
	*w = (struct window){.pid = b->options.pid};
	w->begins = now + (uint64_t)(b->options.warm * SECOND_NS);
	w->ends = w->begins + (uint64_t)(b->options.seconds * SECOND_NS);
}

bool window_look(struct window *w)
{
	if (w->over)
		return false;
	uint64_t now = load_clock();
	if (!w->open && now >= w->begins) {
		w->open = true;
		w->ends += now - w->begins; /* a turn may have taken its time */
		w->cpu_before = w->pid ? process_cpu(w->pid) : 0;
		w->real_begin = load_clock();
	} else if (w->open && now >= w->ends) {
		w->open = false;
		w->over = true;
		w->cpu_after = w->pid ? process_cpu(w->pid) : 0;
		w->real_end = load_clock();
	}
	return w->open;
}

void window_tell(const struct window *w, struct result *r)
{
	r->seconds = (double)(w->real_end - w->real_begin) / SECOND_NS;
	r->cpu_ns = w->cpu_after - w->cpu_before;
}

int64_t window_wait(uint64_t due)
{
	uint64_t now = load_clock();
	if (due <= now)
		return 0;
	return due - now < TURN_NS ? (int64_t)(due - now) : TURN_NS;
}

/* When the next of so many a second is due. */
static uint64_t due_at(uint64_t began, uint64_t index, unsigned rate)
{
	return began + (uint64_t)((double)index * SECOND_NS / rate);
}

bool window_pace(struct window *w, struct load *load, struct result *r,
	bool (*begin)(void *context, uint64_t due, bool measured), void *context)
{
	uint64_t began = load_clock(), index = 0, due = began, until = 0;
	for (;;) {
		bool place = true;
		window_look(w);
		if (w->over && !until)
			until = load_clock() + CATCH_UP_NS;
		while (due < w->ends && due <= load_clock() &&
			(place = begin(context, due, due >= w->begins)))
			due = due_at(began, ++index, r->rate);
		bool last = due >= w->ends;
		if (w->over && (last || load_clock() > until))
			break;
		/* Without a place something has to come first. */
		if (!load_turn(load, place ? window_wait(last ? w->ends : due) : TURN_NS))
			return false;
	}
	for (; due < w->ends; due = due_at(began, ++index, r->rate))
		r->late++;
	return true;
}

void payload_number(char *payload, uint32_t number)
{
	static const char digits[] = "0123456789abcdef";
	payload[0] = MARK;
	for (int i = NUMBER_DIGITS; i > 0; i--, number >>= 4)
		payload[i] = digits[number & 15];
}

bool payload_read(const char *payload, size_t n, uint32_t *ret)
{
	uint32_t number = 0;
	if (n <= NUMBER_DIGITS || payload[0] != MARK)
		return false;
	for (int i = 1; i <= NUMBER_DIGITS; i++) {
		char c = payload[i];
		if (c >= '0' && c <= '9')
			number = number << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = number;
	return true;
}
