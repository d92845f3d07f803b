// Makes docs/demo.png: three people in a room of the demo. No test; run it when the demo looks different:
//   ./dev build && tests/node_modules/.bin/node tests/browser/picture.mjs
import { resolve } from "node:path";
import { people, serve } from "../support/browser.mjs";

const file = resolve(import.meta.dirname, "../../docs/demo.png");

const LOOKS = {
	ann: { wall: "#f2d6b3", light: "#fbeedb", shirt: "#2f6f73", skin: "#e7b08c", hair: "#5b3424", long: true },
	ben: { wall: "#b9cfe0", light: "#e6f0f6", shirt: "#c4573a", skin: "#8d5a3b", hair: "#221a17" },
	mia: { wall: "#cfd8b8", light: "#eef2df", shirt: "#5a4a86", skin: "#f1c6a6", hair: "#b5502c", long: true, glasses: true },
};

/** The camera shows a drawn person instead of Chromium's test pattern. Runs in the page, first of all. */
function draw(look) {
	const canvas = document.createElement("canvas");
	canvas.width = 640;
	canvas.height = 480;
	const brush = canvas.getContext("2d");
	const fill = (colour, ...path) => {
		brush.fillStyle = colour;
		brush.beginPath();
		for (const [how, ...numbers] of path) brush[how](...numbers);
		brush.fill();
	};
	const round = (colour, x, y, rx, ry) => fill(colour, ["ellipse", x, y, rx, ry, 0, 0, 7]);
	const box = (colour, x, y, width, height, radius) => fill(colour, ["roundRect", x, y, width, height, radius]);
	const line = (width, ...path) => {
		brush.strokeStyle = look.hair;
		brush.lineWidth = width;
		brush.lineCap = "round";
		brush.beginPath();
		for (const [how, ...numbers] of path) brush[how](...numbers);
		brush.stroke();
	};
	const frame = () => {
		const sway = Math.sin(Date.now() / 900) * 3;
		const { wall, light, shirt, skin, hair } = look;
		box(wall, 0, 0, 640, 480, 0);
		box(light, 60, 40, 150, 190, 8); // a window
		box(wall, 131, 40, 8, 190, 0);
		box(light, 480, 210, 120, 10, 5); // a shelf, with books
		for (const [x, height, colour] of [[492, 60, shirt], [510, 72, hair], [526, 54, light], [550, 66, skin]])
			box(colour, x, 210 - height, 14, height, 3);
		if (look.long) round(hair, 320 + sway, 250, 105, 140);
		fill(shirt, ["moveTo", 130, 480], ["bezierCurveTo", 140, 370, 240, 360, 320, 360], ["bezierCurveTo", 400, 360, 500, 370, 510, 480]);
		box(skin, 288 + sway / 2, 300, 64, 84, 30);
		round(skin, 320 + sway, 230, 82, 104);
		fill(hair, ["ellipse", 320 + sway, 190, 92, 86, 0, Math.PI, 0], ["quadraticCurveTo", 330 + sway, 150, 228 + sway, 190]);
		for (const x of [288, 352]) round("#2a2320", x + sway, 232, 6, 8);
		if (look.glasses)
			for (const x of [288, 352]) line(4, ["ellipse", x + sway, 232, 25, 22, 0, 0, 7]);
		line(5, ["arc", 320 + sway, 262, 28, 0.35, Math.PI - 0.35]);
	};
	setInterval(frame, 60);
	frame();
	const { mediaDevices } = navigator;
	const open = mediaDevices.getUserMedia.bind(mediaDevices);
	mediaDevices.getUserMedia = async ({ audio, video }) => {
		const stream = audio ? await open({ audio }) : new MediaStream();
		if (video) stream.addTrack(canvas.captureStream(15).getVideoTracks()[0]);
		return stream;
	};
}

const endings = [];
const t = { after: (work) => endings.push(work) };
try {
	const server = await serve(t, { workers: 2 });
	const page = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };
	const everybody = await people(t, server, Object.keys(LOOKS), { page });
	for (const one of everybody) {
		await one.page.addInitScript(draw, LOOKS[one.name]);
		await one.page.reload();
		await one.inLobby();
		await one.join("tea");
	}
	const [ann, ben, mia] = everybody;
	const say = async (one, text) => {
		await one.the("chat-input").fill(text);
		await one.the("chat-input").press("Enter");
		await ann.shown(ann.the("chat-message").getByText(text));
	};
	await Promise.all([ann.sees("ben"), ann.sees("mia"), ben.sees("ann")]);
	await say(ben, "Hello! Can you hear me?");
	await say(ann, "Loud and clear.");
	await say(mia, "The kettle is on, I am all yours.");
	await ann.shown(ann.the("quality"));
	await ann.page.mouse.move(640, 30);
	await ann.page.evaluate(() => document.activeElement.blur());
	await ann.page.screenshot({ path: file });
	console.log(file);
} finally {
	for (const end of endings) await end();
}
