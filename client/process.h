/* process.h: what the kernel says of a process, and where ours runs. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds that all threads of the process have run; 0: there is none. */
uint64_t process_cpu(int pid);
/* Its resident memory in bytes; 0: there is no such process. */
uint64_t process_memory(int pid);
/* Keeps this process to cores ("1", "0,2-3"). False: that is no list of cores that there are. */
bool process_pin(const char *cores);
