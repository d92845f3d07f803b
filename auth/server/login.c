#include "auth/server/login.h"

#include "auth/server/pages.h"

#include <time.h>

bool login_find(const struct http_exchange *x, unsigned char hash[SECRET_HASH],
	void (*done)(struct store_op *op), void *context)
{
	struct str cookie = page_login_cookie(x);
	if (!cookie.n)
		return false;
	secret_hash(cookie, hash);
	store_ask(
		STORE_LOGIN_GET, done, context, STORE_HASH(hash), STORE_INT(time(NULL)), STORE_END);
	return true;
}

bool login_found(const struct store_op *op, char user[USER_NAME_MAX + 1], int64_t *ret_at)
{
	struct str name = op->err ? STR("") : store_str(op, 0, 0);
	if (!name.n || name.n > USER_NAME_MAX)
		return false;
	memcpy(user, name.p, name.n);
	user[name.n] = 0;
	*ret_at = store_int(op, 0, 2);
	return true;
}
