/* serve.h: the whole service in this process: the data directory with its lock, the store, the
 * issuer, the workers with all their parts. Started and stopped by the main thread. */
#pragma once

#include "core/buf.h"
#include "service/config.h"

struct serve_options {
	const struct config *config;
	bool listen; /* false: only a control socket, for a command that needs the service */
	/* From the process that has the data directory now, if there is one: its listening sockets, then
	 * the directory, for which it may take a minute. Nothing changes for that one before everything
	 * that can be checked without it has been. */
	bool take_over;
	/* Asked again and again while another process has the data directory: true gives up, as there
	 * is a service to ask. NULL: none is looked for. */
	bool (*found)(void *context);
	void *context;
};

/* On failure nothing runs and *why holds sentences for a person. ERR_CONFLICT: another process owns
 * the data directory, and has not let go of it within 3 seconds. */
enum err serve_start(const struct serve_options *options, struct buf *why);

/* Hands to everybody what of the configuration they use; what is pointed to is not copied. At the start,
 * and again while the workers pause. */
void serve_configure(const struct config *config);
void serve_configure_log(const struct config *config);

/* Ends sessions, finishes what is under way, commits, frees. */
void serve_stop(const struct config *config);

/* Where the control socket of this configuration is; with listen false that of a command's own service,
 * which ends with the command and so is nobody else's to ask. The caller frees it. */
char *serve_control_path(const struct config *config, bool listen);
