// socket.io with rooms, over WebSocket alone.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.engine.on("connection", (socket) => (socket.request = null)); // its manual: less memory
io.on("connection", (socket) => {
	socket.on("join", (room, joined) => {
		socket.join(room);
		socket.data.room = room;
		joined();
	});
	socket.on("publish", (data) => io.to(socket.data.room).emit("message", data));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
