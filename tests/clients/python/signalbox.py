"""A client for Signalbox in Python 3, with nothing but the standard library.

It was written from docs/PROTOCOL.md and can be read beside it: the session, which counts, keeps and
resumes, is one class; a WebSocket and a stream with POSTs are two ways to carry it.

    session = Session("http://127.0.0.1:8080", token=get_token)      # get_token() -> an access token
    answer = session.join("demo")
    session.call("signal.send", room="demo", to="room", type="hello", data={"n": 1})
    event, params = session.events.get()                             # ("signal.received", {...})
    session.close()

Beside the events of the protocol the queue brings some of the client itself: ("lost", {}): the session
could not be resumed, a new one is open; ("rejoined", answer): for each room, then, `recovered` says
whether messages were missed; ("refreshed", answer); ("over", {code, reason}): the client has stopped.
"""

import http.client
import itertools
import json
import queue
import random
import threading
import time
import uuid
from concurrent.futures import Future

from carriers import ACK, FORBIDDEN, LOST, UNAUTHORIZED, Closed, EventStream, WebSocket

__all__ = ["EventStream", "Refused", "Session", "SessionLost", "WebSocket"]

KEPT_MESSAGES, KEPT_BYTES = 1024, 1 << 20  # what may wait for an acknowledgement: then we pause
ACK_MESSAGES, ACK_BYTES, ACK_SECONDS = 32, 32 << 10, 2  # half of what the protocol allows
BATCH_MESSAGES, BATCH_BYTES = 50, 96 << 10  # of one POST
BACKOFF_FIRST, BACKOFF_MOST = 0.5, 20

STOP = {1000, FORBIDDEN, 4003, 4500, 4501}  # close codes: what the client then does
FRESH = {1002, 1003, 1007, 1008, 1009}  # a session without resume; all others: resume


class Refused(Exception):
	"""A request was answered with an error."""

	def __init__(self, error):
		super().__init__(error["message"])
		self.code, self.data = error["code"], error.get("data", {})
		self.reason, self.retry_after = self.data.get("reason"), self.data.get("retry_after", 0)


class SessionLost(Exception):
	"""The session ended before a request was answered: it may have been done or not."""


class Session:
	"""What outlives connections: counts, what is kept to be sent again, requests that wait, rooms."""

	def __init__(self, url, token, transport=WebSocket):
		self.events = queue.Queue()
		self._url, self._token, self._transport = url, token, transport
		self._changed = threading.Condition(threading.RLock())  # guards all below
		self._session = None  # its id
		self._kept, self._acked = [], 0  # messages, sent or to be sent; how many came before them
		self._received, self._told, self._untold_bytes, self._untold_since = 0, 0, 0, 0
		self._ids = itertools.count(1)
		self._waiting = {}  # id: (method, params, Future)
		self._rooms = {}  # name: {"peer", "epoch", "offset"}
		self._not_before = 0
		self._over = False
		self._thread = threading.Thread(target=self._run, daemon=True)
		self._thread.start()

	# ---- what the application calls ----

	def request(self, method, **params):
		"""Sends a request; a Future of its result. Pauses while too much is not acknowledged."""
		with self._changed:
			self._changed.wait_for(lambda: self._over or (
				len(self._kept) < KEPT_MESSAGES and sum(map(len, self._kept)) < KEPT_BYTES))
			return self._queue(method, params, Future())

	def call(self, method, **params):
		"""The result of a request; one that is refused for its pace is made again when it may be."""
		while True:
			try:
				return self.request(method, **params).result()
			except Refused as refused:
				if not refused.retry_after:
					raise
				time.sleep(refused.retry_after)

	def join(self, room, **params):
		return self.call("room.join", room=room, **params)

	def publish(self, room, data):
		"""With a key, so that it may be repeated when its answer is lost with a session."""
		return self.call("room.publish", room=room, data=data, idempotency_key=str(uuid.uuid4()))

	def close(self):
		self.call("session.close")
		with self._changed:
			self._over = True
		self._thread.join()

	# ---- out ----

	def _queue(self, method, params, future):
		with self._changed:
			if self._over:
				future.set_exception(SessionLost("the client has stopped"))
				return future
			number = next(self._ids)
			message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
			self._waiting[number] = (method, params, future)
			self._kept.append(json.dumps(message, separators=(",", ":")))
			self._changed.notify_all()
			return future

	def _write(self, link, ended):
		"""Sends what waits, in order and each message once, and acknowledges, while a connection lives."""
		sent = self._acked
		try:
			while not ended.is_set():
				with self._changed:
					self._changed.wait_for(
						lambda: ended.is_set() or self._ack_due() or self._acked + len(self._kept) > sent, 0.5)
					sent = max(sent, self._acked)
					texts = self._next_texts(sent)
					count = len(texts)
					if self._ack_due():
						texts.insert(0, f'{ACK},"params":{{"received":{self._received}}}}}')
						self._told, self._untold_bytes = self._received, 0
				if texts:
					acknowledged = link.send(self._session, sent, texts)
					sent += count
					if acknowledged is not None:
						self._acknowledge(acknowledged)
						sent = acknowledged
		except Closed as refused:  # a POST; a lost session shows when the stream resumes
			self._not_before = max(self._not_before, time.monotonic() + refused.retry_after)
		except (OSError, http.client.HTTPException):
			pass
		link.close()

	def _next_texts(self, sent):
		texts, size = [], 0
		for text in self._kept[sent - self._acked :][:BATCH_MESSAGES]:
			size += len(text)
			if texts and size > BATCH_BYTES:
				break
			texts.append(text)
		return texts

	def _ack_due(self):
		count = self._received - self._told
		late = time.monotonic() - self._untold_since > ACK_SECONDS
		return count > 0 and (count >= ACK_MESSAGES or self._untold_bytes >= ACK_BYTES or late)

	def _acknowledge(self, received):
		"""The server has so many of our messages: those need not be kept."""
		with self._changed:
			if received > self._acked:
				del self._kept[: received - self._acked]
				self._acked = received
				self._changed.notify_all()

	# ---- in ----

	def _read(self, link):
		while True:
			messages, size, position = link.receive()
			for message in messages:
				if message.get("method") == "session.ack":
					self._acknowledge(message["params"]["received"])
					continue
				with self._changed:
					if self._received == self._told:
						self._untold_since = time.monotonic()
					self._received += 1
				self._take(message)
			self._untold_bytes += size
			assert position in (None, self._received), "the server counts otherwise"

	def _take(self, message):
		if "method" in message:
			return self._event(message["method"], message["params"])
		method, params, future = self._waiting.pop(message["id"], (None, None, None))
		if future is None:
			return None
		if "error" in message:
			return future.set_exception(Refused(message["error"]))
		result = message["result"]
		if method == "room.join":
			self._joined(params, result)
		elif method == "room.leave":
			self._rooms.pop(params["room"], None)
		return future.set_result(result)

	def _event(self, method, params):
		if method == "session.closing":
			self._not_before = time.monotonic() + params["reconnect_after"]
		elif method == "session.expiring":
			threading.Thread(target=self._refresh, daemon=True).start()  # getting a token may take time
		elif method == "room.message":
			self._rooms[params["room"]].update(epoch=params["epoch"], offset=params["offset"])
		elif method == "room.left":
			left = [member["peer"] for member in params.get("members", [params])]
			if self._rooms.get(params["room"], {}).get("peer") in left:
				del self._rooms[params["room"]]
		self.events.put((method, params))

	def _joined(self, params, answer):
		"""Every later event of the room follows this answer."""
		room = answer["room"]
		self._rooms[room] = {key: answer[key] for key in ("peer", "epoch", "offset")}
		if "since" in params:
			self.events.put(("rejoined", answer))
		for message in answer["messages"]:
			self.events.put(("room.message", message))

	def _refresh(self):
		try:
			self.events.put(("refreshed", self.call("session.refresh", token=self._token())))
		except (Refused, SessionLost):
			pass  # 4001 comes, then

	# ---- connections, one after another ----

	def _run(self):
		failures, unauthorized, fresh = 0, 0, False
		while True:
			ended, link, writer = threading.Event(), None, None
			try:
				resume = None if fresh or not self._session else {"session": self._session, "received": self._received}
				link = self._transport(self._url, self._token)
				opened = link.open(resume)
				failures, unauthorized, fresh = 0, 0, False
				self._opened(opened)
				writer = threading.Thread(target=self._write, args=(link, ended), daemon=True)
				writer.start()
				self._read(link)
			except Closed as end:
				code, reason, retry_after = end.code, end.reason, end.retry_after
			except (OSError, http.client.HTTPException) as error:
				code, reason, retry_after = LOST, str(error), 0
			except BaseException as error:  # nothing that the protocol knows: nobody shall wait for us
				self._stopped(1002, repr(error))
				raise
			ended.set()
			if link:
				link.close()
			if writer:
				writer.join()
			unauthorized += code == UNAUTHORIZED
			if self._over or code in STOP or unauthorized > 1:
				return self._stopped(code, reason)
			fresh = fresh or code in FRESH
			pause = min(BACKOFF_MOST, BACKOFF_FIRST * 2**failures) * random.random()
			failures += 1
			time.sleep(max(pause, retry_after, self._not_before - time.monotonic()))

	def _opened(self, opened):
		if opened["resumed"]:
			return self._acknowledge(opened["received"])  # the writer sends the rest again
		with self._changed:
			first, self._session = self._session is None, opened["session"]
			self._acked = self._received = self._told = self._untold_bytes = 0
			if first:
				return None  # what was asked before goes now
			waiting, self._waiting, self._kept = self._waiting, {}, []
			self.events.put(("lost", {}))
			closing = any(method == "session.close" for method, _, _ in waiting.values())
			for room, at in self._rooms.items() if not closing else ():
				since = {"epoch": at["epoch"], "offset": at["offset"]}
				self._queue("room.join", {"room": room, "since": since}, Future())
			for method, params, future in waiting.values():
				if method == "session.close" or "idempotency_key" in params:
					self._queue(method, params, future)
				else:
					future.set_exception(SessionLost(method))

	def _stopped(self, code, reason):
		with self._changed:
			self._over = True
			for _, _, future in self._waiting.values():
				future.set_exception(SessionLost(f"{code} {reason}"))
			self._changed.notify_all()
		self.events.put(("over", {"code": code, "reason": reason}))
