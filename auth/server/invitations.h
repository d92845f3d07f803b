/* invitations.h: who may sign up while sign-up is by invitation. The code is kept as a hash, counts its
 * uses and ends; its administration is the invitation.* methods of issuer_methods[] (invitations.c).
 * Any thread. */
#pragma once

#include "auth/server/secret.h"

/* As the store knows it (STORE_INVITATION_GET, STORE_USER_ADD_INVITED). */
void invitation_hash(struct str code, unsigned char out[SECRET_HASH]);
