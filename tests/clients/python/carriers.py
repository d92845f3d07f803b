"""What carries a session of signalbox.py: a WebSocket, or a stream of events with POSTs.

Either one has open(resume) -> the result of session.open, receive() -> what came, send(...), close().
Whatever ends it is raised as Closed, OSError or HTTPException.
"""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import threading
from urllib.parse import urlencode, urlsplit

LOST, UNAUTHORIZED, FORBIDDEN = 1006, 3000, 3003  # close codes
CONNECT_SECONDS, QUIET_SECONDS = 20, 15  # the second is beyond ping_interval
ACK = '{"jsonrpc":"2.0","method":"session.ack"'  # as session.ack begins: it does not count


class Closed(Exception):
	"""The end of a connection, or a refused one."""

	def __init__(self, code, reason="", retry_after=0):
		super().__init__(f"{code} {reason}")
		self.code, self.reason, self.retry_after = code, reason, retry_after


def refused_by_status(status, headers):
	code = {401: UNAUTHORIZED, 403: FORBIDDEN, 400: FORBIDDEN, 406: FORBIDDEN}.get(status, LOST)
	return Closed(code, f"HTTP {status}", float(headers.get("Retry-After") or 0))


def connect(url):
	address = urlsplit(url)
	port = address.port or (443 if address.scheme == "https" else 80)
	sock = socket.create_connection((address.hostname, port), CONNECT_SECONDS)
	sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	if address.scheme == "https":
		sock = ssl.create_default_context().wrap_socket(sock, server_hostname=address.hostname)
	return sock


def hang_up(sock):
	try:
		sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
	except OSError:
		pass
	sock.close()


class WebSocket:
	"""A session over GET /ws: each message is a text frame (RFC 6455)."""

	def __init__(self, url, token):
		self._sock = connect(url)
		self._file = self._sock.makefile("rb")
		self._sending = threading.Lock()  # pongs come from the reading thread
		try:
			self._upgrade(urlsplit(url).netloc, token())
		except BaseException:
			self.close()
			raise

	def _upgrade(self, host, token):
		key = base64.b64encode(os.urandom(16)).decode()
		self._sock.sendall(
			f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
			f"Sec-WebSocket-Protocol: signalbox.v1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
		)
		status_line = self._file.readline()
		if not status_line.endswith(b"\n"):
			raise Closed(LOST, "no answer to the upgrade")
		status = int(status_line.split()[1])
		headers = http.client.parse_headers(self._file)
		if status != 101:
			raise refused_by_status(status, headers)
		accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
		if headers.get("Sec-WebSocket-Accept") != base64.b64encode(accept).decode():
			raise Closed(LOST, "no whole answer to the upgrade")

	def open(self, resume):
		"""session.open, the first message: the server says nothing before its answer."""
		params = {"batch": True, "client": {"name": "signalbox.py"}} | ({"resume": resume} if resume else {})
		self._frame(1, json.dumps({"jsonrpc": "2.0", "id": 0, "method": "session.open", "params": params}))
		answer = json.loads(self._text())
		if "error" in answer:
			error, wait = answer["error"], answer["error"].get("data", {}).get("retry_after", 0)
			again = LOST if wait or error["code"] == -32603 else FORBIDDEN
			raise Closed(UNAUTHORIZED if error["code"] == -32001 else again, error["message"], wait)
		self._sock.settimeout(answer["result"]["ping_interval"] + QUIET_SECONDS)
		return answer["result"]

	def send(self, _session, _sent, texts):
		for text in texts:
			self._frame(1, text)
		return None  # session.ack will say what has been received

	def receive(self):
		"""The next messages, and their end as the server counts, where that is told: not here."""
		text = self._text()
		messages = json.loads(text)
		return (messages if isinstance(messages, list) else [messages]), len(text), None

	def _text(self):
		text = b""
		while True:
			first, second = self._exactly(2)
			size = second & 0x7F
			if size > 125:
				size = struct.unpack("!H" if size == 126 else "!Q", self._exactly(2 if size == 126 else 8))[0]
			payload, opcode = self._exactly(size), first & 0x0F
			if opcode == 8:
				self._frame(8, payload[:2])
				raise Closed(struct.unpack("!H", payload[:2])[0] if payload else LOST, payload[2:].decode())
			if opcode == 9:
				self._frame(10, payload)
			elif opcode in (0, 1):
				text += payload
				if first & 0x80:
					return text

	def _exactly(self, size):
		taken = self._file.read(size)
		if len(taken) < size:
			raise Closed(LOST, "the connection ended")
		return taken

	def _frame(self, opcode, payload):
		payload = payload.encode() if isinstance(payload, str) else payload
		size = len(payload)
		if size < 126:
			head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
		elif size < 1 << 16:
			head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
		else:
			head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
		mask = os.urandom(4)
		masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
		with self._sending:
			self._sock.sendall(head + mask + masked)

	def close(self):
		hang_up(self._sock)


class EventStream:
	"""The same session over GET /v1/events, whose answer never ends, and POST /v1/messages."""

	def __init__(self, url, token):
		self._url, self._token = url, token
		self._posting = None

	def _request(self, method, path, headers, body=None):
		connection = http.client.HTTPConnection(urlsplit(self._url).netloc)
		connection.sock = sock = connect(self._url)
		headers["Authorization"] = f"Bearer {self._token()}"
		connection.request(method, path, body, headers)
		return sock, connection

	def open(self, resume):
		query = urlencode({"batch": 1} | (resume or {}))
		self._sock, connection = self._request("GET", f"/v1/events?{query}", {"Accept": "text/event-stream"})
		self._answer = connection.getresponse()
		if self._answer.status != 200:
			raise refused_by_status(self._answer.status, self._answer.headers)
		opened = json.loads(self._event("open")[0])
		self._sock.settimeout(opened["ping_interval"] + QUIET_SECONDS)
		return opened

	def send(self, session, sent, texts):
		"""One POST; says how many messages the server has now."""
		headers = {"Signalbox-Session": session, "Signalbox-Sent": str(sent), "Content-Type": "application/json"}
		counted = sum(not text.startswith(ACK) for text in texts)
		self._posting, connection = self._request("POST", "/v1/messages", headers, f"[{','.join(texts)}]".encode())
		answer = connection.getresponse()
		body = answer.read()
		self._posting.close()
		if answer.status == 202:
			return sent + counted
		if answer.status == 409:
			return json.loads(body)["received"]
		raise refused_by_status(answer.status, answer.headers)

	def receive(self):
		data, position = self._event("")
		messages = json.loads(data)
		return (messages if isinstance(messages, list) else [messages]), len(data), position

	def _event(self, wanted):
		"""The next server-sent event: (data, N of its id)."""
		name, data, position = "", [], None
		while (line := self._answer.readline()).endswith(b"\n"):  # a line that was cut off is none
			field, _, value = line.decode().rstrip("\r\n").partition(":")
			value = value.removeprefix(" ")
			if field == "event":
				name = value
			elif field == "data":
				data.append(value)
			elif field == "id":
				position = int(value.rpartition(":")[2])
			elif line.strip() == b"" and data:
				if name == "close":
					end = json.loads("\n".join(data))
					raise Closed(end["code"], end["reason"])
				if name == wanted:
					return "\n".join(data), position
				name, data, position = "", [], None
		raise Closed(LOST, "the stream ended")

	def close(self):
		for sock in (getattr(self, "_sock", None), self._posting):
			if sock:
				hang_up(sock)
