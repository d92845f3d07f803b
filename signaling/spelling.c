#include "signaling/spelling.h"

#include "core/mem.h"
#include "store/users.h"

struct asking {
	struct place *p;
	struct call *call;
	struct str user;
	void (*then)(struct place *p, struct call *c);
};

static void spelled(struct store_op *op)
{
	struct asking a = *(struct asking *)op->context;
	free(op->context);
	if (op->err && op->err != ERR_NOT_FOUND) {
		call_refuse(a.call, op->err);
	} else {
		struct str name = op->err ? a.user : store_str(op, 0, 0);
		if (name.n == a.user.n) /* the same but for the case of letters */
			memmove((char *)(uintptr_t)a.user.p, name.p, name.n);
		a.then(a.p, a.call);
	}
	rooms_release(a.p);
}

void spell_user(struct place *p, struct call *c, struct str user,
	void (*then)(struct place *p, struct call *c))
{
	rooms_hold(p);
	if (!user_name_valid(user)) {
		then(p, c);
		rooms_release(p);
		return;
	}
	struct asking *a = mem_new(struct asking);
	*a = (struct asking){p, c, user, then};
	store_ask(STORE_USER_GET, spelled, a, STORE_TEXT(user), STORE_END);
}
