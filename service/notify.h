/* notify.h: what systemd is told of this process (sd_notify(3)): a datagram to the socket that
 * NOTIFY_SOCKET names. Without one nothing is said. It is never waited for: systemd may be late to read.
 * Thread: main. */
#pragma once

void notify_ready(void);    /* it serves; also that it is the main process, as after a take-over */
void notify_stopping(void); /* it has begun to stop */
