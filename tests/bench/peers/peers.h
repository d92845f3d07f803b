/* peers.h: what other servers speak, for the load generator (client/dialect.h). */
#pragma once

#include "client/dialect.h"

/* nchan's nchan_pubsub over WebSocket, the room being the channel: a message is a frame. */
extern const struct dialect dialect_nchan;
/* MQTT 3.1.1 over WebSocket, QoS 0, the room being the topic. */
extern const struct dialect dialect_mosquitto;
/* ws.mjs: whatever is said goes to all. */
extern const struct dialect dialect_ws;
/* socket.io's protocol 5 over Engine.IO's 4, WebSocket alone; socketio.mjs has the two events. */
extern const struct dialect dialect_socketio;
/* PeerJS's server: who is called by an id signals to an id. No rooms. */
extern const struct dialect dialect_peerjs;

/* Reports each payload in a text, from MARK on. */
void peer_delivered(struct link *l, const char *bytes, size_t n);
