#include "service/serve.h"

#include "auth/audit.h"
#include "auth/backend.h"
#include "auth/password.h"
#include "auth/server/server.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/mem.h"
#include "dataset/catalog.h"
#include "dataset/feed.h"
#include "dataset/heads.h"
#include "dataset/past.h"
#include "dataset/query.h"
#include "dataset/write.h"
#include "service/arrival.h"
#include "service/authn.h"
#include "service/conn.h"
#include "service/control.h"
#include "service/datasets.h"
#include "service/dispatch.h"
#include "service/event_stream.h"
#include "service/guest_http.h"
#include "service/hand_over.h"
#include "service/http_session.h"
#include "service/inherited.h"
#include "service/introspection.h"
#include "service/issuer_keys.h"
#include "service/listener.h"
#include "service/methods.h"
#include "service/forwarded.h"
#include "service/opening.h"
#include "service/quota.h"
#include "service/routes.h"
#include "service/resource.h"
#include "service/rpc_http.h"
#include "service/service_methods.h"
#include "service/session.h"
#include "service/session_admin.h"
#include "service/session_gate.h"
#include "service/site.h"
#include "service/ticket.h"
#include "service/tls.h"
#include "service/webhooks.h"
#include "service/withdrawn.h"
#include "service/withdrawn_methods.h"
#include "signaling/call_records.h"
#include "signaling/calls.h"
#include "signaling/meeting.h"
#include "signaling/people.h"
#include "signaling/rpc.h"
#include "signaling/signaling.h"
#include "signaling/told.h"
#include "store/fault.h"
#include "store/outbox.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	STORE_QUEUE_MAX = 16384,
	DRAIN_MS = 5000, /* for what was begun */
	LEAVE_MS = 5000, /* for clients that read slowly what was written to them */
	DEFAULT_PORT = 8080,
	LOCK_WAIT_MS = 3000,
	TAKE_OVER_MS = 60000,
	LOCK_RETRY_MS = 50,
	TAKE_OVER_RETRY_MS = 2
};

static int lock_fd = -1;
static bool listens;
static char *control_path, *store_path;
static char *issuer_url;
static struct ice_server *ice;
static size_t ice_count;
static struct str *ephemeral;
static struct room_template *templates;
static size_t template_count;

/* What runs on every worker, in order of start; what is above may use what is below it. */
static const struct worker_part *const all_parts[] = {&fetch_part, &outbox_part, &webhooks_part,
	&backend_part, &audit_part, &withdrawn_part, &authn_part, &keys_part, &introspection_part,
	&issuer_keys_part, &people_part, &presence_part, &room_watch_part, &signaling_part,
	&retention_part, &meetings_part, &calls_part, &rpc_part, &heads_part, &catalog_part,
	&past_part, &feed_part, &session_part, &gate_part, &opening_part, &control_part,
	&event_stream_part, &arrival_part, &listener_part, NULL};
static const struct worker_part *const quiet_parts[] = {&fetch_part, &outbox_part, &backend_part,
	&audit_part, &withdrawn_part, &authn_part, &keys_part, &introspection_part,
	&issuer_keys_part, &people_part, &presence_part, &room_watch_part, &signaling_part,
	&meetings_part, &calls_part, &rpc_part, &heads_part, &catalog_part, &past_part, &feed_part,
	&session_part, &control_part, NULL};

/* ---- the data directory ---- */

static char *path_in(const struct config *config, const char *name)
{
	struct buf b = BUF_INIT(8192);
	buf_addf(&b, "%s/%s", config->data.directory, name);
	return buf_take(&b);
}

/* The address of a socket has 107 bytes (unix(7)): a directory deeper than that is reached through a
 * descriptor of it. */
char *serve_control_path(const struct config *config, bool listen)
{
	static int directory = -1;
	const char *name = listen ? "control.sock" : "command.sock";
	char *path = path_in(config, name);
	if (strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path))
		return path;
	free(path);
	if (directory < 0)
		directory = open(config->data.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct buf b = BUF_INIT(64);
	buf_addf(&b, "/proc/self/fd/%d/%s", directory, name);
	return buf_take(&b);
}

static bool answers(const struct config *config)
{
	char *path = serve_control_path(config, true);
	int fd = control_connect(path);
	free(path);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A command that does its work without a service holds the lock for a moment: that is waited for,
 * unless whoever waits has found a service to ask meanwhile. A successor waits for what it was promised,
 * unless another has it: somebody answers again, after nobody did. */
static bool take_lock(const struct serve_options *o)
{
	const int wait = o->take_over ? TAKE_OVER_MS : LOCK_WAIT_MS;
	const int every = o->take_over ? TAKE_OVER_RETRY_MS : LOCK_RETRY_MS;
	const struct timespec pause = {.tv_nsec = every * 1000000L};
	bool silent = false;
	for (int waited = 0; flock(lock_fd, LOCK_EX | LOCK_NB) != 0; waited += every) {
		if (waited >= wait || (o->found && o->found(o->context)))
			return false;
		bool look = o->take_over && waited % LOCK_RETRY_MS == 0;
		bool heard = look && answers(o->config);
		if (silent && heard)
			return false;
		silent |= look && !heard;
		nanosleep(&pause, NULL);
	}
	return true;
}

static enum err no_directory(const char *doing, const char *directory, struct buf *why)
{
	const struct store_trouble *trouble = store_trouble_errno(errno);
	buf_addf(why, "cannot %s the data directory %s: %m%s%s\n", doing, directory,
		trouble ? "; " : "", trouble ? trouble->remedy : "");
	return ERR_INTERNAL;
}

static enum err own_directory(const struct serve_options *o, struct buf *why)
{
	const char *directory = o->config->data.directory;
	if (mkdir(directory, 0700) && errno != EEXIST)
		return no_directory("make", directory, why);
	char *path = path_in(o->config, "lock");
	lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (lock_fd < 0)
		return no_directory("write to", directory, why);
	if (take_lock(o))
		return ERR_OK;
	buf_addf(why,
		"the data directory %s is in use by another signalbox: stop that one first, or "
		"give "
		"this one a directory of its own with --data.\n",
		directory);
	close(lock_fd);
	lock_fd = -1;
	return ERR_CONFLICT;
}

static void leave_directory(void)
{
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
}

/* ---- the parts ---- */

static enum err open_store(const struct config *config, struct buf *why)
{
	char reason[STORE_WHY_MAX] = "";
	store_path = path_in(config, "signalbox.db");
	const struct store_driver *driver = store_fault_from_environment(&store_sqlite, reason);
	enum err err =
		driver ? store_open(driver, store_path, STORE_QUEUE_MAX, reason) : ERR_PARAMS;
	if (err)
		buf_addf(why, "%s\n", reason);
	return err;
}

static enum err start_tls(const struct config *config, struct buf *why)
{
	struct tls_pair *pair = NULL;
	if (!config->tls.certificate[0])
		return ERR_OK;
	enum err err = tls_pair_load(config->tls.certificate, config->tls.key, &pair, why);
	if (!err)
		tls_pair_use(&pair);
	return err;
}

/* The embedded issuer's name is chosen once: tokens and accounts hang on it. */
static enum err choose_issuer_url(const struct config *config, unsigned port, struct buf *why)
{
	free(issuer_url);
	issuer_url = NULL;
	if (config->issuer.url[0]) {
		issuer_url = mem_copy(str_of(config->issuer.url));
		return ERR_OK;
	}
	struct store_op *op =
		store_ask_now(STORE_SETTING_GET, STORE_TEXT(STR("issuer")), STORE_END);
	enum err err = op->err;
	if (!err)
		issuer_url = mem_copy(store_str(op, 0, 0));
	store_op_free(&op);
	if (err && err != ERR_NOT_FOUND)
		buf_addf(why, "the store does not say the issuer's name\n");
	if (err != ERR_NOT_FOUND)
		return err;
	struct buf url = BUF_INIT(256);
	buf_addf(&url, "%s://localhost:%u", config->tls.certificate[0] ? "https" : "http", port);
	op = store_ask_now(
		STORE_SETTING_PUT, STORE_TEXT(STR("issuer")), STORE_TEXT(buf_str(&url)), STORE_END);
	err = op->err;
	store_op_free(&op);
	issuer_url = buf_take(&url);
	if (err)
		buf_addf(why, "the store does not take the issuer's name\n");
	return err;
}

static enum err start_issuer(const struct config *config, struct buf *why)
{
	char key_file[PATH_MAX];
	snprintf(key_file, sizeof(key_file), "%s/seal.key", config->data.directory);
	struct issuer_options options = {.url = str_of(issuer_url),
		.key_file = key_file,
		.audience = str_of(config->issuer.audience),
		.sign_up = (enum issuer_sign_up)config->issuer.sign_up,
		.demo_client = config->server.demo,
		.access_token_lifetime = (int)(config->issuer.access_token_lifetime / 1000),
		.key_rotation = config->issuer.key_rotation / 1000,
		.on_keys = authn_embedded_keys,
		.refresh_token_lifetime = config->issuer.refresh_token_lifetime / 1000,
		.refresh_token_idle = config->issuer.refresh_token_idle / 1000,
		.on_withdrawn = withdrawn_add};
	char reason[ISSUER_WHY_MAX] = "";
	enum err err = issuer_start(&options, reason);
	if (err)
		buf_addf(why, "%s\n", reason);
	return err;
}

static enum err start_tokens(const struct config *config, struct buf *why)
{
	struct authn_embedded embedded = {0};
	if (config->issuer.enabled) {
		embedded.url = str_of(issuer_url);
		embedded.audience =
			config->issuer.audience[0] ? str_of(config->issuer.audience) : embedded.url;
		embedded.jwks = issuer_jwks();
	}
	withdrawals_end_by(withdrawn_add);
	enum err err = withdrawals_load(why);
	err = err ? err : authn_configure(config, &embedded, why);
	if (!err)
		resource_configure(str_of(issuer_url));
	return err;
}

static void finish_tokens(void)
{
	resource_finish();
	authn_finish();
	withdrawals_finish();
}

static void free_signaling(void)
{
	for (size_t i = 0; i < ice_count; i++)
		free((void *)(uintptr_t)ice[i].urls);
	for (size_t i = 0; i < template_count; i++)
		free((void *)(uintptr_t)templates[i].names);
	free(ice);
	free(ephemeral);
	free(templates);
	templates = NULL;
	template_count = 0;
	ice = NULL;
	ice_count = 0;
	ephemeral = NULL;
}

static void read_templates(const struct config *c)
{
	static const enum role roles[] = {ROLE_MEMBER, ROLE_MODERATOR, ROLE_OWNER};
	template_count = c->room_templates.count;
	templates = mem_alloc((template_count + 1) * sizeof(*templates));
	for (size_t i = 0; i < template_count; i++) {
		const struct config_room_template *from = &c->room_templates.items[i];
		templates[i] = (struct room_template){.names = config_spans(&from->names),
			.name_count = from->names.count,
			.create = (enum room_creators)from->create,
			.ephemeral = from->ephemeral,
			.history_messages = from->history_messages,
			.history_age_s = (unsigned)(from->history_age / 1000),
			.history_durable = from->history_durable,
			.max_members = from->max_members,
			.private = from->visibility == CONFIG_VISIBILITY_PRIVATE,
			.lobby = from->lobby,
			.maker_role = roles[from->maker_role]};
	}
}

static void configure_signaling(const struct config *c)
{
	struct signaling_options options = signaling_defaults;
	free_signaling();
	ice_count = c->ice_servers.count;
	ice = mem_alloc((ice_count + 1) * sizeof(*ice));
	for (size_t i = 0; i < ice_count; i++) {
		const struct config_ice_server *from = &c->ice_servers.items[i];
		ice[i] = (struct ice_server){.urls = config_spans(&from->urls),
			.url_count = from->urls.count,
			.secret = str_of(from->secret),
			.username = str_of(from->username),
			.credential = str_of(from->credential),
			.region = str_of(from->region)};
	}
	ephemeral = config_spans(&c->rooms.ephemeral_names);
	read_templates(c);
	options.members_per_room = c->limits.members_per_room;
	options.roster_merge_above = c->rooms.roster_merge_above;
	options.rooms_per_session = c->limits.rooms_per_session;
	options.ephemeral = ephemeral;
	options.ephemeral_count = c->rooms.ephemeral ? c->rooms.ephemeral_names.count : 0;
	options.templates = templates;
	options.template_count = template_count;
	options.data_max = c->limits.data;
	options.history_messages = c->rooms.history_messages;
	options.history_messages_max = c->rooms.history_messages_max;
	options.history_age_s = (unsigned)(c->rooms.history_age / 1000);
	options.history_age_max_s = (unsigned)(c->rooms.history_age_max / 1000);
	options.presence_grace_ms = (unsigned)c->presence.grace;
	options.presence_linger_ms = (unsigned)c->presence.linger;
	options.presence_hidden = c->presence.visible == CONFIG_PRESENCE_NOBODY;
	options.presence_keep_s = c->presence.keep / 1000;
	options.calls_busy_ring = c->calls.busy == CONFIG_CALLS_RING;
	options.calls_per_minute = (unsigned)c->calls.invitations_per_minute;
	options.calls_history_s = c->calls.history / 1000;
	options.ice = ice;
	options.ice_count = ice_count;
	options.ice_lifetime_s = (unsigned)(c->ice.credential_lifetime / 1000);
	options.rpc_in_flight = c->rpc.in_flight;
	options.reserved = methods_have_domain;
	signaling_configure(&options);
}

void serve_configure_log(const struct config *c)
{
	log_configure(
		(enum log_level)c->log.level, c->log.format == CONFIG_LOG_JSON, STDERR_FILENO);
}

/* Behind a proxy that says nothing, all clients have the same address. */
static bool knows_addresses(const struct config *c)
{
	return !c->server.behind_proxy || c->server.trusted_proxies.count;
}

static void configure_quota(const struct config *c)
{
	forwarded_configure(c);
	quota_configure(&(struct quota_limits){.addresses = knows_addresses(c),
		.connections_per_address = c->limits.connections_per_address,
		.unopened_per_address = c->limits.unopened_per_address,
		.handshakes_per_second = c->limits.handshakes_per_second,
		.failed_authentications_per_minute = c->limits.failed_authentications_per_minute,
		.sessions_per_user = c->limits.sessions_per_user,
		.http_requests_per_second = c->limits.http_requests_per_second});
}

void serve_configure(const struct config *c)
{
	configure_signaling(c);
	configure_quota(c);
	datasets_configure(c);
	webhooks_configure(c);
	audit_configure(c->audit.keep / 1000);
	opening_configure(&(struct opening_options){.timeout_ms = c->auth.session_open_timeout});
	session_configure(&(struct session_options){.resume_window_ms = c->session.resume_window,
		.kept_messages = c->limits.kept_messages,
		.kept_bytes = c->limits.kept_bytes,
		.drain_spread_ms = c->session.drain_spread,
		.ping_interval_s = c->session.ping_interval / 1000,
		.message_bytes = c->limits.message,
		.data_bytes = c->limits.data,
		.batch = c->limits.batch,
		.rooms = c->limits.rooms_per_session,
		.in_flight = c->limits.requests_in_flight});
	conn_configure(&(struct conn_limits){.message = c->limits.message,
		.first_message = FIRST_MESSAGE_MAX,
		.outbound_queue = c->limits.outbound_queue,
		.ping_ms = (uint64_t)c->session.ping_interval,
		.pong_ms = (uint64_t)c->session.pong_timeout});
	event_stream_configure(
		&(struct event_stream_options){.outbound_queue = c->limits.outbound_queue,
			.ping_ms = (uint64_t)c->session.ping_interval,
			.pong_ms = (unsigned)c->session.pong_timeout});
	http_session_configure(c->limits.message);
	guest_http_configure(c->issuer.enabled, c->rooms.guest_lifetime / 1000);
	dispatch_configure(&(struct dispatch_limits){
		.batch = c->limits.batch, .in_flight = c->limits.requests_in_flight});
	pace_configure(&(struct pace_limits){.requests_per_second = c->limits.requests_per_second,
		.requests_burst = c->limits.requests_burst,
		.joins_per_second = c->limits.joins_per_second,
		.joins_burst = c->limits.joins_burst,
		.resent = c->limits.kept_messages});
}

static void add_methods_and_routes(const struct config *c)
{
	methods_add(session_methods);
	methods_add(signaling_methods);
	methods_add(room_update_methods);
	methods_add(room_roles_methods);
	methods_add(call_methods);
	methods_add(occupancy_methods);
	methods_add(history_methods);
	methods_add(presence_methods);
	methods_add(rpc_methods);
	methods_add(moderation_methods);
	methods_add(ban_methods);
	methods_add(room_invitation_methods);
	methods_add(invitation_methods);
	methods_add(knock_methods);
	methods_add(catalog_methods);
	methods_add(feed_methods);
	methods_add(catalog_admin_methods);
	methods_add(query_methods);
	methods_add(write_methods);
	methods_add(past_methods);
	methods_add(service_methods);
	methods_add(withdrawn_methods);
	methods_add(session_admin_methods);
	methods_add(audit_methods);
	routes_configure(c);
	routes_add(rpc_routes);
	routes_add(http_session_routes);
	routes_add(ticket_routes);
	routes_add(guest_routes);
	routes_add(resource_routes);
	if (c->issuer.enabled) {
		methods_add(issuer_methods);
		routes_add(issuer_routes);
	}
	routes_add(site_routes); /* last: it takes every address */
	site_configure(c->server.demo);
}

static int worker_count(const struct serve_options *o)
{
	int wanted = (int)o->config->server.workers;
	if (!o->listen)
		return 1;
	if (!wanted)
		wanted = (int)uv_available_parallelism();
	return wanted > WORKERS_MAX ? WORKERS_MAX : wanted;
}

/* The port that clients will reach us by, also when this process does not listen. */
static unsigned configured_port(const struct config *config)
{
	const char *colon =
		config->server.listen.count ? strrchr(config->server.listen.items[0], ':') : NULL;
	unsigned port = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
	return port ? port : DEFAULT_PORT;
}

/* What lives on this worker, whoever began it. */
static void write_live(struct json_out *o)
{
	sessions_live(o);
	told_live(o);
	call_records_live(o);
}

/* Everything that was left by the process before is in its place: the doors open. */
static void let_in(struct worker *w, void *context)
{
	(void)context;
	webhooks_begin();
	sessions_begin();
	keys_begin(w);
	control_listen(w);
	listeners_accept(w);
}

/* What cannot be served is found before the running service lets go: the certificate, the keys of
 * issuers, the addresses. */
static enum err take_over(const struct serve_options *o, struct buf *why)
{
	int peer = -1;
	char *path = serve_control_path(o->config, true);
	enum err err = inherited_ask(path, &peer, why);
	free(path);
	if (err == ERR_NOT_FOUND) {
		log_info("there is nobody to take over from");
		return ERR_OK;
	}
	if (err)
		return err;
	err = authn_configure(o->config, &(struct authn_embedded){0}, why);
	authn_finish();
	if (!err)
		err = listeners_open(o->config, worker_count(o), why);
	if (err)
		close(peer);
	else
		err = inherited_take_over(peer, why);
	if (err)
		listeners_close();
	return err;
}

/* The addresses, if they are not there from the process before. */
static enum err listen_at(const struct serve_options *o, struct buf *why)
{
	enum err err = ERR_OK;
	if (!listener_url(0))
		err = listeners_open(o->config, worker_count(o), why);
	for (size_t i = 0; !err && i < inherited_left(); i++) {
		enum inherited_side side;
		inherited_socket(i, &side);
		if (side == INHERITED_EITHER) {
			buf_addf(why,
				"systemd gives a socket for %s, where this service is not to "
				"listen: "
				"name it in server.listen, or take it out of the socket unit.\n",
				inherited_name(i));
			return ERR_CONFLICT;
		}
		log_warn("no longer listened on", LOG_TEXT("address", inherited_name(i)));
	}
	return err;
}

/* In this process alone, before it owns anything. */
static enum err prepare(const struct serve_options *o, struct buf *why)
{
	enum err err = inherited_from_systemd(why);
	if (!err)
		err = start_tls(o->config, why);
	if (!err && o->take_over)
		err = take_over(o, why);
	return err;
}

static enum err load_datasets(const struct serve_options *o, struct buf *why)
{
	if (o->listen)
		datasets_begin(o->config);
	enum err err = heads_load(why);
	err = err ? err : catalog_load(why);
	if (!err && (err = databases_start()))
		buf_addf(why, "threads for datasets cannot be started\n");
	return err;
}

static void forget_datasets(void)
{
	catalog_finish();
	heads_finish();
	datasets_finish();
}

/* From where the process before left it. */
static void go_on(const struct config *config)
{
	hand_over_load();
	outbox_begin(write_live);
	signaling_begin();
	if (!knows_addresses(config))
		log_warn("clients' addresses are not limited: all have the proxy's",
			LOG_TEXT("hint", "name it in server.trusted_proxies"));
}

enum err serve_start(const struct serve_options *o, struct buf *why)
{
	const struct config *config = o->config;
	enum err err = o->listen ? prepare(o, why) : ERR_OK;
	if (!err)
		err = own_directory(o, why);
	if (!err)
		err = open_store(config, why);
	if (!err && o->listen)
		err = listen_at(o, why);
	if (err)
		goto close_all;
	err = choose_issuer_url(config, o->listen ? listener_port() : configured_port(config), why);
	if (!err && config->issuer.enabled)
		err = start_issuer(config, why);
	if (err)
		goto close_all;
	err = start_tokens(config, why);
	err = err ? err : load_datasets(o, why);
	if (err)
		goto stop_issuer;
	serve_configure(config);
	add_methods_and_routes(config);
	control_path = serve_control_path(config, o->listen);
	control_configure(control_path);
	err = workers_start(&(struct workers_options){.count = worker_count(o),
		.calls_max = config->limits.calls_per_worker,
		.sockets = o->listen,
		.parts = o->listen ? all_parts : quiet_parts});
	if (!err) {
		listens = o->listen;
		catalog_begin(listens);
		if (listens)
			go_on(config);
		workers_each(let_in, NULL);
		inherited_close();
		site_set_ready(true);
		return ERR_OK;
	}
	buf_addf(why, "the service cannot start; the log says why\n");
	methods_free();
	routes_free();
	free_signaling();
	free(control_path);
	databases_stop();
stop_issuer:
	forget_datasets();
	finish_tokens();
	if (config->issuer.enabled)
		issuer_stop();
close_all:
	listeners_close();
	inherited_close();
	tls_pair_use(&(struct tls_pair *){NULL});
	store_close();
	free(store_path);
	store_path = NULL;
	leave_directory();
	return err;
}

/* Other processes may have the data from here on. */
static void let_go(void)
{
	store_close(); /* what waits in it is still answered to the workers: so they end later */
	listeners_close();
	leave_directory();
}

/* In this order: nothing new begins; what was begun is finished; what is left is written down; the
 * data is let go; and only then the clients are, who can already be served by another process. */
void serve_stop(const struct config *config)
{
	site_set_ready(false);
	workers_drain(DRAIN_MS);
	if (listens)
		hand_over_save();
	catalog_end();
	databases_stop();
	heads_save();
	if (config->issuer.enabled)
		issuer_drain();
	let_go();
	workers_each(sessions_leave, NULL);
	/* Who had only begun to ask is answered too, when the next one serves already. */
	workers_wait(control_gave_away() ? listener_all_left : listener_left, LEAVE_MS);
	workers_stop();
	if (config->issuer.enabled)
		issuer_stop();
	finish_tokens();
	forget_datasets();
	webhooks_finish();
	tickets_finish();
	quota_finish();
	methods_free();
	routes_free();
	free_signaling();
	tls_pair_use(&(struct tls_pair *){NULL});
	free(control_path);
	free(store_path);
	free(issuer_url);
	issuer_url = control_path = store_path = NULL;
}
