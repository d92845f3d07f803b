// PeerJS's server. The generator sends no heartbeats: nobody is to be missed while it runs.
import { PeerServer } from "peer";

PeerServer({
	host: "127.0.0.1",
	port: Number(process.argv[2]),
	path: "/",
	concurrent_limit: 20_000,
	alive_timeout: 3_600_000,
});
