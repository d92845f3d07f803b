#include "auth/guesses.h"

#include "auth/throttle.h"
#include "core/client_address.h"
#include "core/clock.h"

#include <pthread.h>

enum {
	ACCOUNT_FREE = 5, /* who comes so far knows the password: waits may be long */
	ACCOUNT_WAIT_MAX = 900,
	ADDRESS_FREE = 50,
	ADDRESS_WAIT_MAX = 900,
};

static struct {
	pthread_mutex_t lock;
	struct throttle *accounts, *addresses;
	struct throttle *sign_ups; /* of addresses */
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

void guesses_start(void)
{
	own.accounts = throttle_new(ACCOUNT_FREE, ACCOUNT_WAIT_MAX);
	own.addresses = throttle_new(ADDRESS_FREE, ADDRESS_WAIT_MAX);
	own.sign_ups = throttle_new(ADDRESS_FREE, ADDRESS_WAIT_MAX);
}

void guesses_stop(void)
{
	throttle_free(&own.accounts);
	throttle_free(&own.addresses);
	throttle_free(&own.sign_ups);
}

int64_t guess_take(struct str account, struct str address)
{
	struct client_address client = client_address_of(address);
	struct str place = client_address_limited(&client);
	int64_t now = clock_steady_ms();
	pthread_mutex_lock(&own.lock);
	int64_t one = account.n ? throttle_wait(own.accounts, account, now) : 0;
	int64_t other = place.n ? throttle_wait(own.addresses, place, now) : 0;
	int64_t wait = one > other ? one : other;
	if (!wait && account.n)
		throttle_failed(own.accounts, account, now);
	if (!wait && place.n)
		throttle_failed(own.addresses, place, now);
	pthread_mutex_unlock(&own.lock);
	return wait;
}

void guess_right(struct str account, struct str address)
{
	struct client_address client = client_address_of(address);
	struct str place = client_address_limited(&client);
	pthread_mutex_lock(&own.lock);
	if (account.n)
		throttle_forget(own.accounts, account);
	if (place.n)
		throttle_undo(own.addresses, place);
	pthread_mutex_unlock(&own.lock);
}

int64_t sign_up_take(struct str address)
{
	struct client_address client = client_address_of(address);
	struct str place = client_address_limited(&client);
	int64_t now = clock_steady_ms();
	if (!place.n)
		return 0;
	pthread_mutex_lock(&own.lock);
	int64_t wait = throttle_wait(own.sign_ups, place, now);
	if (!wait)
		throttle_failed(own.sign_ups, place, now);
	pthread_mutex_unlock(&own.lock);
	return wait;
}
