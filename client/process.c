#include "client/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t first_number(const char *path, unsigned skip)
{
	uint64_t n = 0;
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	for (unsigned i = 0; i <= skip; i++)
		if (fscanf(file, "%" SCNu64, &n) != 1)
			n = 0;
	fclose(file);
	return n;
}

uint64_t process_cpu(int pid)
{
	char path[512];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	if (!tasks)
		return 0;
	for (struct dirent *d; (d = readdir(tasks));)
		if (d->d_name[0] != '.') {
			snprintf(path, sizeof(path), "/proc/%d/task/%.32s/schedstat", pid,
				d->d_name);
			sum += first_number(path, 0);
		}
	closedir(tasks);
	return sum;
}

uint64_t process_memory(int pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	return first_number(path, 1) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool process_pin(const char *cores)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	for (const char *p = cores; *p;) {
		char *end;
		unsigned long from = strtoul(p, &end, 10), to = from;
		if (end == p)
			return false;
		if (*end == '-') {
			p = end + 1;
			to = strtoul(p, &end, 10);
		}
		if (end == p || to < from || to >= CPU_SETSIZE || (*end && *end != ','))
			return false;
		for (; from <= to; from++)
			CPU_SET(from, &set);
		p = *end ? end + 1 : end;
	}
	return CPU_COUNT(&set) && sched_setaffinity(0, sizeof(set), &set) == 0;
}
