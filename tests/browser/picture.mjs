// Makes the pictures of the demo, docs/demo*.png. No test; run it when the demo looks different, and look at them:
//   ./dev build && tests/node_modules/.bin/node tests/browser/picture.mjs
// Make them smaller then (seven tenths of the width, a palette of 200 colours): none is over 120 KB in the repository.
import { resolve } from "node:path";
import { arrive, people, serve, startWay } from "../support/browser.mjs";

const picture = (name) => resolve(import.meta.dirname, `../../docs/${name}.png`);

const LOOKS = {
	ann: { wall: "#f2d6b3", light: "#fbeedb", shirt: "#2f6f73", skin: "#e7b08c", hair: "#5b3424", long: true },
	ben: { wall: "#b9cfe0", light: "#e6f0f6", shirt: "#c4573a", skin: "#8d5a3b", hair: "#221a17" },
	leo: { wall: "#e3c4c4", light: "#f7e9e7", shirt: "#35507e", skin: "#c98f63", hair: "#3a3a3a" },
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

/** What is shown as a screen. Runs in the page, first of all. */
function drawScreen() {
	const canvas = document.createElement("canvas");
	canvas.width = 1280;
	canvas.height = 720;
	const brush = canvas.getContext("2d");
	const bars = [38, 61, 44, 80, 67, 92, 74];
	const frame = () => {
		brush.fillStyle = "#fdfdfb";
		brush.fillRect(0, 0, 1280, 720);
		brush.fillStyle = "#16202b";
		brush.font = "600 52px sans-serif";
		brush.fillText("Cups of tea, by day", 80, 120);
		bars.forEach((value, n) => {
			brush.fillStyle = n === 5 ? "#0b7a45" : "#b9cfe0";
			brush.fillRect(90 + n * 160, 640 - value * 5, 110, value * 5);
			brush.fillStyle = "#52616f";
			brush.font = "30px sans-serif";
			brush.fillText("Mon Tue Wed Thu Fri Sat Sun".split(" ")[n], 112 + n * 160, 690);
		});
	};
	setInterval(frame, 100);
	navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(10);
}

const endings = [];
const t = { after: (work) => endings.push(work) };
const say = async (one, text) => {
	await one.the("chat-input").fill(text);
	await one.the("chat-input").press("Enter");
	await one.shown(one.the("chat-message").getByText(text, { exact: true }));
};
const still = async (one) => {
	await one.page.mouse.move(640, 30);
	await one.page.evaluate(() => document.activeElement.blur());
};
const entry = (one, name) => one.the("person").filter({ hasText: name });
const called = (one, user) => one.the("contact", `[data-user="${user}"]`).getByTestId("contact-call").click();

/** With a camera that shows a drawn person. */
async function sit(one) {
	await one.page.addInitScript(draw, LOOKS[one.name]);
	await one.page.addInitScript(drawScreen);
	await one.page.reload();
	await one.inLobby();
}

/** Three in a room, as the first picture shows them. */
async function together([ann, ben, mia]) {
	for (const one of [ann, ben, mia]) await one.join("tea");
	await Promise.all([ann.sees("ben"), ann.sees("mia"), ben.sees("ann")]);
	await say(ben, "Hello! Can you hear me?");
	await say(ann, "Loud and clear.");
	await say(mia, "The kettle is on, I am all yours.");
	await ann.shown(ann.the("chat-message").getByText("The kettle is on"));
	await ann.shown(ann.the("quality"));
	await still(ann);
	await ann.page.screenshot({ path: picture("demo") });
}

async function sharing([ann, ben, mia]) {
	await ben.the("screen").click();
	await ann.shown(ann.the("screen-tile"));
	await ann.sees("ben", { videos: 2 });
	await still(ann);
	await ann.page.screenshot({ path: picture("demo-screen") });
	await ben.the("screen").click();
	for (const one of [ann, ben, mia]) await one.leave();
}

/** A room with a door, one at it, and the menu of what can be done with somebody inside. */
async function moderating([ann, ben, mia, leo]) {
	await ann.the("create").click();
	await ann.the("create-name").fill("salon");
	await ann.the("create-text").fill("The salon");
	await ann.the("create-lobby").check();
	await ann.the("create-durable").check();
	await ann.the("create-confirm").click();
	await ann.shown(ann.the("room-title").getByText("The salon"));
	await ann.page.evaluate(async () => {
		for (let n = 1; n <= 40; n++) await window.signalboxDemo.room.publish({ text: `Item ${n} of the list` });
	});
	const enter = async (one, words) => {
		await one.the("room-entry", '[data-room="salon"]').click();
		await one.the("knock-message").fill(words);
		await one.the("knock").click();
		await ann.shown(ann.the("knock-entry", `[data-user="${one.name}"]`));
	};
	for (const one of [ben, mia]) {
		await enter(one, "");
		await ann.the("knock-admit").click();
		await one.shown(one.the("room-view"));
	}
	await enter(leo, "Ann asked me to come by");
	await leo.page.screenshot({ path: picture("demo-knock") });
	await Promise.all([ann.sees("ben"), ann.sees("mia")]);
	await say(ben, "Sunday at four?");
	await say(ann, "Sunday at five, I mean five.");
	const mine = ann.the("chat-message").filter({ hasText: "I mean five" });
	await mine.hover();
	await mine.getByTestId("message-edit").click();
	await say(ann, "Sunday at five.");
	await still(ann);
	await ann.page.screenshot({ path: picture("demo-moderation") });
	await ann.the("knock-admit").click();
	await leo.shown(leo.the("room-view"));
	await leo.sees("ann");
	await entry(ann, "Leo").getByTestId("person-menu").click();
	await ann.page.screenshot({ path: picture("demo-menu") });
	await ann.page.keyboard.press("Escape");
	await ann.the("chat-log").evaluate((log) => (log.scrollTop = 0));
	await ann.shown(ann.the("chat-message").getByText("Item 3 of the list"));
	await ann.the("chat-log").evaluate((log) => (log.scrollTop = 0));
	await ann.the("settings").click();
	await ann.page.screenshot({ path: picture("demo-devices") });
	await ann.page.keyboard.press("Escape");
}

/** On a telephone, in the dark, by a link. */
async function visiting(server, [ann]) {
	await ann.the("invite").click();
	await ann.the("invite-make").click();
	await ann.until("the link", () => document.getElementById("invite-link").value);
	await ann.page.screenshot({ path: picture("demo-invite") });
	const link = await ann.the("invite-link").inputValue();
	await ann.page.keyboard.press("Escape");
	const page = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, colorScheme: "dark" };
	const gus = await arrive(t, "gus", { page });
	gus.site = link;
	await gus.page.addInitScript(draw, LOOKS.leo);
	await gus.page.goto(link);
	await gus.shown(gus.the("guest-room"));
	await gus.the("guest-name").fill("Gus");
	await gus.page.screenshot({ path: picture("demo-guest") });
	await gus.the("guest-join").click();
	await gus.sees("ann");
	await still(gus);
	await gus.page.screenshot({ path: picture("demo-phone") });
	await gus.leave().catch(() => {});
}

/** The lobby with who is online, and a telephone that rings. */
async function ringing([ann, ben, mia, leo]) {
	await mia.leave();
	await leo.leave();
	await called(mia, "ann");
	await mia.shown(mia.the("ring"));
	await ann.shown(ann.the("ring-title"));
	await mia.the("ring-no").click();
	await ann.gone(ann.the("ring"));
	await ann.leave();
	await leo.the("sign-out").click();
	await ann.shown(ann.the("contact", '[data-user="leo"][data-status="offline"]'));
	await ann.shown(ann.the("room-entry", '[data-count="1"]'));
	for (const notice of await ann.the("notice").all()) await notice.getByLabel("Dismiss").click().catch(() => {});
	await still(ann);
	await ann.page.screenshot({ path: picture("demo-lobby") });
	await ann.page.emulateMedia({ colorScheme: "dark" });
	await called(mia, "ann");
	await ann.shown(ann.the("ring-title"));
	await ann.page.screenshot({ path: picture("demo-ringing") });
	await mia.the("ring-no").click();
	await ann.gone(ann.the("ring"));
	await ben.leave();
}

/** Without a connection. */
async function away(way, [ann, ben]) {
	await ann.page.emulateMedia({ colorScheme: "light" });
	await Promise.all([ann.join("tea"), ben.join("tea")]);
	await Promise.all([ann.sees("ben"), ben.sees("ann")]);
	way.block();
	await ann.shown(ann.the("trouble-text"));
	await still(ann);
	await ann.page.screenshot({ path: picture("demo-reconnecting") });
}

try {
	const way = await startWay(t);
	const server = await serve(t, { workers: 2, config: { issuer: { url: way.url } } });
	way.to(server.port);
	const page = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };
	const options = { page, site: `${way.url}/`, expected: [/./] };
	const everybody = await people(t, server, ["ann", "ben", "mia", "leo"], options);
	for (const one of everybody) await sit(one);
	await together(everybody);
	await sharing(everybody);
	await moderating(everybody);
	await visiting(server, everybody);
	await ringing(everybody);
	await away(way, everybody);
} finally {
	for (const end of endings) await end().catch((error) => console.log(error.message));
}
