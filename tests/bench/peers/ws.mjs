// ws, as its manual broadcasts: whatever a member says goes to all of its room, which is the path of its address.
import { WebSocket, WebSocketServer } from "ws";

const rooms = new Map();
const server = new WebSocketServer({
	host: "127.0.0.1",
	port: Number(process.argv[2]),
	backlog: 4096,
	perMessageDeflate: false,
});

server.on("connection", (socket, request) => {
	const room = rooms.get(request.url) ?? new Set();
	rooms.set(request.url, room.add(socket));
	socket.on("message", (data, binary) => {
		for (const member of room) if (member.readyState === WebSocket.OPEN) member.send(data, { binary });
	});
	socket.on("close", () => room.delete(socket));
	socket.on("error", () => {}); // its close follows
});
