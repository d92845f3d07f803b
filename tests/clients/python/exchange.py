"""One member of tests/protocol/61-stranger.test.js: exchange.py URL ROOM websocket|stream TOKEN_FILE.

Each line of its input asks for something; each line it prints is what came of it, or an event.
  {"send": N}    N more numbered signals and messages for the room, several under way at a time
  {"close": 1}   ends the session
The token is read from its file whenever one is wanted. Beside the events, its lines are
  ["joined", answer]  ["signal", n, outcome]  ["message", n, outcome]  ["sent", n]
"""

import collections
import json
import sys
import threading

from signalbox import EventStream, Refused, Session, SessionLost, WebSocket

UNDER_WAY = 16
PAD = "é" * 20

printing = threading.Lock()


def say(*words):
	with printing:
		print(json.dumps(words), flush=True)


def outcome(future):
	try:
		return future.result()
	except Refused as refused:
		return {"refused": refused.reason}
	except SessionLost:
		return {"lost": True}


def show_events(session):
	while True:
		event, params = session.events.get()
		say(event, params)


def send(session, room, numbers):
	under_way = collections.deque()
	for n in numbers:
		data = {"n": n, "pad": PAD}
		signal = session.request("signal.send", room=room, to="room", type="number", data=data)
		message = session.request("room.publish", room=room, data=data, idempotency_key=f"{session.me}-{n}")
		under_way += [("signal", n, signal), ("message", n, message)]
		while len(under_way) > UNDER_WAY:
			kind, number, future = under_way.popleft()
			say(kind, number, outcome(future))
	for kind, number, future in under_way:
		say(kind, number, outcome(future))


def main(url, room, transport, token_file):
	def token():
		with open(token_file, encoding="utf-8") as file:
			return file.read()

	session = Session(url, token, {"websocket": WebSocket, "stream": EventStream}[transport])
	session.me = transport
	threading.Thread(target=show_events, args=(session,), daemon=True).start()
	say("joined", session.join(room))
	last = 0
	for line in sys.stdin:
		asked = json.loads(line)
		if "send" in asked:
			send(session, room, range(last + 1, last + 1 + asked["send"]))
			last += asked["send"]
			say("sent", last)
		if "close" in asked:
			session.close()
			say("closed")


main(*sys.argv[1:])
