/* Templates: what the configuration says for rooms by their names, at creation, at a join that makes
 * a room, and of what is kept. */
#include "room_service.h"

static const struct str team[] = {STR("team-*"), STR("crew-*")};
static const struct str desk[] = {STR("e-desk-*")};
static const struct str kept[] = {STR("e-kept-*")};
static const struct str staff[] = {STR("staff-*")};
static const struct str closed[] = {STR("closed-*")};
static const struct str all_team[] = {STR("t*")};

static const struct room_template templates[] = {
	{.names = team,
		.name_count = 2,
		.ephemeral = true,
		.history_messages = 3,
		.history_age_s = 60,
		.max_members = 2,
		.private = true,
		.maker_role = ROLE_MEMBER},
	{.names = all_team, .name_count = 1, .max_members = 7, .maker_role = ROLE_MEMBER},
	{.names = desk,
		.name_count = 1,
		.ephemeral = true,
		.lobby = true,
		.max_members = 2,
		.maker_role = ROLE_OWNER},
	{.names = kept, .name_count = 1, .maker_role = ROLE_MEMBER},
	{.names = staff, .name_count = 1, .create = CREATE_MODERATORS, .maker_role = ROLE_MEMBER},
	{.names = closed, .name_count = 1, .create = CREATE_NOBODY, .maker_role = ROLE_MEMBER},
};

static struct signaling_options with_templates(void)
{
	struct signaling_options o = test_options();
	o.templates = templates;
	o.template_count = sizeof(templates) / sizeof(*templates);
	return o;
}

static int on_two(void **state)
{
	(void)state;
	return start_with(with_templates(), 2);
}

static void what_is_not_said_is_as_the_template_says(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	struct str a = ask(ann, "room.create", "{\"room\":\"team-1\"}");
	expect_at(a, "result.visibility", "\"private\"");
	expect_at(a, "result.max_members", "2");
	expect_at(a, "result.history", "{\"messages\":3,\"age\":60,\"durable\":false}");
	expect_at(a, "result.lobby", "false");
	expect_at(a, "result.archived", "false");
	a = ask(ann, "room.create",
		"{\"room\":\"crew-1\",\"visibility\":\"public\",\"lobby\":true,\"max_members\":1,"
		"\"history\":{\"messages\":0,\"durable\":true}}");
	expect_at(a, "result.visibility", "\"public\"");
	expect_at(a, "result.lobby", "true");
	expect_at(a, "result.max_members", "1");
	expect_at(a, "result.history", "{\"messages\":0,\"age\":60,\"durable\":true}");
	a = ask(ann, "room.create", "{\"room\":\"two\"}"); /* the first that matches */
	expect_at(a, "result.max_members", "7");
	a = ask(ann, "room.create", "{\"room\":\"plain\"}");
	expect_at(a, "result.max_members", "1000");
	expect_at(a, "result.history", "{\"messages\":100,\"age\":3600,\"durable\":false}");
	client_free(ann);
}

static void more_than_a_template_allows_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *room, *more, *field, *limit;
	} rows[] = {
		{"team-1", "\"max_members\":3", "\"max_members\"", "2"},
		{"team-1", "\"history\":{\"messages\":4}", "\"history\"", "3"},
		{"team-1", "\"history\":{\"age\":61}", "\"history\"", "60"},
		{"plain", "\"history\":{\"messages\":10001}", "\"history\"", "10000"},
		{"plain", "\"history\":{\"age\":2592001}", "\"history\"", "2592000"},
		{"plain", "\"history\":{\"age\":0}", "\"history\"", ""},
		{"plain", "\"history\":{\"size\":1}", "\"history\"", ""},
		{"plain", "\"history\":[]", "\"history\"", ""},
	};
	struct client *ann = client("ann");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct str a =
			ask(ann, "room.create", "{\"room\":\"%s\",%s}", rows[i].room, rows[i].more);
		expect_reason(a, "invalid_params");
		expect_at(a, "error.data.field", rows[i].field);
		expect_at(a, "error.data.limit", rows[i].limit);
		expect_reason(
			ask(ann, "room.get", "{\"room\":\"%s\"}", rows[i].room), "no_such_room");
	}
	client_free(ann);
}

static void a_template_says_who_creates(void **state)
{
	(void)state;
	struct principal mod = {.user = STR("mod"),
		.name = STR("mod"),
		.scopes = SCOPES_DEFAULT | SCOPE_ROOMS_MODERATE};
	struct principal root = mod;
	root.user = STR("root");
	root.scopes |= SCOPE_ADMIN;
	struct client *ann = client("ann"), *m = client_of(0, &mod), *r = client_of(1, &root);
	expect_reason(ask(ann, "room.create", "{\"room\":\"staff-1\"}"), "template_forbids");
	expect_result(ask(m, "room.create", "{\"room\":\"staff-1\"}"));
	expect_reason(ask(r, "room.create", "{\"room\":\"closed-1\"}"), "template_forbids");
	client_free(ann);
	client_free(m);
	client_free(r);
}

static void only_so_many_of_a_template_come_in(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob"), *eve = client("eve");
	expect_result(ask(ann, "room.create", "{\"room\":\"crew\",\"visibility\":\"public\"}"));
	expect_result(ask(ann, "room.create", "{\"room\":\"crew-1\",\"visibility\":\"public\"}"));
	joined(ann, "crew-1");
	joined(bob, "crew-1");
	struct str a = ask(eve, "room.join", "{\"room\":\"crew-1\"}");
	expect_reason(a, "room_full");
	expect_at(a, "error.data.limit", "2");
	joined(eve, "crew");
	client_free(ann);
	client_free(bob);
	client_free(eve);
}

static void a_template_says_what_who_makes_a_room_is(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	expect_at(joined(ann, "e-desk-1"), "result.role", "\"owner\"");
	struct str a = ask(bob, "room.get", "{\"room\":\"e-desk-1\"}");
	expect_at(a, "result.owner", "\"ann\"");
	expect_at(a, "result.lobby", "true");
	expect_at(a, "result.persistent", "false");
	expect_at(a, "result.max_members", "2");
	expect_at(a, "result.created_at", "");
	expect_reason(ask(bob, "room.join", "{\"room\":\"e-kept-1\"}"), "no_such_room");
	/* gone with the room */
	expect_result(ask(ann, "room.leave", "{\"room\":\"e-desk-1\"}"));
	expect_at(joined(bob, "e-desk-1"), "result.role", "\"owner\"");
	expect_at(joined(bob, "e-1"), "result.role", "\"member\"");
	client_free(ann);
	client_free(bob);
}

static void a_room_keeps_as_much_as_it_says(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	expect_result(
		ask(ann, "room.create", "{\"room\":\"team-1\",\"history\":{\"messages\":2}}"));
	char *epoch = mem_copy(value_at(joined(ann, "team-1"), "result.epoch"));
	for (int i = 0; i < 4; i++)
		expect_result(ask(ann, "room.publish", "{\"room\":\"team-1\",\"data\":%d}", i));
	for (int offset = 1; offset <= 2; offset++) {
		struct str a = ask(ann, "room.join",
			"{\"room\":\"team-1\",\"since\":{\"epoch\":%s,\"offset\":%d}}", epoch,
			offset);
		expect_at(a, "result.recovered", offset == 2 ? "true" : "false");
	}
	free(epoch);
	client_free(ann);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on(on_two, what_is_not_said_is_as_the_template_says),
		on(on_two, more_than_a_template_allows_is_refused),
		on(on_two, a_template_says_who_creates),
		on(on_two, only_so_many_of_a_template_come_in),
		on(on_two, a_template_says_what_who_makes_a_room_is),
		on(on_two, a_room_keeps_as_much_as_it_says),
	};
	return cmocka_run_group_tests(tests, make, clean);
}
