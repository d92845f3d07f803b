#include "signaling/template.h"

#include "signaling/options.h"

static const struct room_template plain = {.ephemeral = true, .maker_role = ROLE_MEMBER};

static bool matches(const struct str *globs, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_glob(globs[i], name))
			return true;
	return false;
}

const struct room_template *template_of(struct str name)
{
	const struct signaling_options *o = options();
	for (size_t i = 0; i < o->template_count; i++)
		if (matches(o->templates[i].names, o->templates[i].name_count, name))
			return &o->templates[i];
	return &plain;
}

bool template_lets_create(const struct room_template *t, const struct principal *who)
{
	static const uint32_t needed[] = {
		[CREATE_ANYONE] = SCOPE_ROOMS_CREATE,
		[CREATE_MODERATORS] = SCOPE_ROOMS_MODERATE | SCOPE_ADMIN,
		[CREATE_ADMIN] = SCOPE_ADMIN,
		[CREATE_NOBODY] = 0,
	};
	return who->scopes & needed[t->create];
}

bool template_is_ephemeral(const struct room_template *t, struct str name)
{
	return t->ephemeral && matches(options()->ephemeral, options()->ephemeral_count, name);
}
