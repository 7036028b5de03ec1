// The viewer: sends the newest camera, shows what comes, says how old it is.

import { Motion, frustum, seen } from "./motion.js";

const $ = (id) => document.getElementById(id);
const MOST = 1280;  // Pixels of a picture's longer side.

let socket, motion, panes = [], cameras = [], chosen = -1;
let number = 0, wanted = false, flying = false, lines = true;
let following = false, movedAt = -1e9;  // Whether another page moved last; when this one did.
const held = new Set();

function say(text, bad = false) {
  $("said").textContent = text;
  $("said").classList.toggle("bad", bad);
}

// --- The line -----------------------------------------------------------------------------------

function connect() {
  socket = new WebSocket(`ws://${location.host}${location.pathname}socket`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : came(data));
  socket.onclose = ({ code, reason }) => {
    document.body.classList.add("lost");
    say(code === 1008 ? `Refused: ${reason}` : "The viewer has ended. Waiting for it…", true);
    if (code !== 1008) setTimeout(connect, 1500);
  };
}

function told(message) {
  if (message.kind === "hello") hello(message);
  else if (message.kind === "problem") {
    const { problem } = panes[message.pane];
    problem.textContent = message.text;
    problem.hidden = false;
  }
}

function hello(message) {
  document.body.classList.remove("lost");
  say("");
  if (!motion) {
    const first = message.panes[0];
    motion = new Motion(first.center, first.radius);
    following = message.shown;
    panes = message.panes.map(newPane);
    cameras = message.panes.flatMap((pane) => pane.cameras);
    if (cameras.length) {
      $("jumps").hidden = false;
      $("cameras").append(new Option("free", "-1"), ...cameras.map((one, at) => new Option(one.name, String(at))));
    }
    new ResizeObserver(fit).observe($("panes"));
  }
  for (const pane of panes) if (pane.pass.selectedIndex > 0) show(pane, pane.pass.value);
  fit();
  document.documentElement.dataset.ready = "";
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

const show = (pane, name) => send({ kind: "show", pane: pane.number, pass: name });

// One after the other: what is on the screen never goes back.
function came(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const pane = panes[header.pane];
  header.came = performance.now();
  pane.coming = pane.coming.then(() => put(pane, header, data, length));
}

async function put(pane, header, data, length) {
  const type = header.exact ? "image/png" : "image/jpeg";
  const blob = new Blob([new Uint8Array(data, 4 + length)], { type });
  try {
    const bitmap = await createImageBitmap(blob);
    const { picture } = pane, shown = motion.camera();
    if (header.camera_to_world) follow(header);
    pane.header = header;
    pane.blob = blob;
    pane.problem.hidden = true;
    const size = header.camera === number && !following ? [shown.width, shown.height] : [header.width, header.height];
    lay(pane, size[0] / size[1]);
    [picture.width, picture.height] = [bitmap.width, bitmap.height];
    picture.getContext("2d").drawImage(bitmap, 0, 0);
    facts(pane);
    bitmap.close();
  } finally {
    send({ kind: "seen", pane: header.pane });
  }
}

// --- Panes --------------------------------------------------------------------------------------

function newPane(described, at) {
  const element = $("pane").content.firstElementChild.cloneNode(true);
  const find = (name) => element.querySelector(`.${name}`);
  const pane = {
    number: at, element, name: described.name, passes: described.passes, header: null, coming: Promise.resolve(), radius: described.radius,
    picture: find("picture"), lines: find("lines"), pass: find("pass"), facts: find("facts"),
    level: find("level"), samples: find("samples"), age: find("age"), problem: find("problem"),
  };
  find("name").textContent = described.name;
  pane.pass.append(...described.passes.map((name) => new Option(name, name)));
  pane.pass.onchange = () => { show(pane, pane.pass.value); element.focus(); };
  pane.pass.hidden = described.passes.length < 2;
  hands(element);
  $("panes").append(element);
  return pane;
}

function fit() {
  const box = panes[0].element.getBoundingClientRect(), dense = Math.min(devicePixelRatio || 1, 2);
  const scale = Math.min(dense, MOST / Math.max(box.width, box.height, 1));
  motion.width = Math.max(16, Math.round(box.width * scale));
  motion.height = Math.max(16, Math.round(box.height * scale));
  if (following) return;
  if (!number) motion.home();
  moved(false);
}

// The picture's shape, as large as the pane has room for.
function lay(pane, aspect) {
  const box = pane.element.getBoundingClientRect();
  const width = Math.min(box.width, box.height * aspect), before = pane.lines.style.height;
  for (const canvas of [pane.picture, pane.lines]) {
    canvas.style.width = `${width}px`;
    canvas.style.height = `${width / aspect}px`;
  }
  if (pane.lines.style.height !== before) draw();  // They lie where the picture does.
}

function facts(pane) {
  const { header } = pane;
  if (!header) return;
  const age = performance.now() - header.came + header.age;
  const other = header.pass === pane.pass.value ? "" : `no ${pane.pass.value} from here: ${header.pass} · `;
  pane.level.textContent = `${other}level ${header.level}/${header.levels} · ${header.width}×${header.height}`;
  const traced = header.samples > 1 ? [`${header.samples} samples`] : [];
  pane.samples.textContent = [...traced, ...(header.exact ? ["exact"] : [])].join(", ");
  pane.age.textContent = `${header.took.toFixed(0)} ms, ${age < 1000 ? `${age.toFixed(0)} ms` : `${(age / 1000).toFixed(1)} s`} old`;
  // A frozen picture looks frozen.
  pane.facts.classList.toggle("late", !following && header.camera !== number && age > 500);
}

function draw() {
  const camera = motion.camera();
  for (const pane of panes) {
    const { lines: canvas } = pane, box = canvas.getBoundingClientRect();
    [canvas.width, canvas.height] = [Math.round(box.width), Math.round(box.height)];
    pane.spots = [];
    if (!lines || !cameras.length) continue;
    const pen = canvas.getContext("2d"), k = canvas.width / camera.width;
    cameras.forEach((one, at) => {
      const points = frustum(one, 0.12 * pane.radius).map((point) => seen(camera, point));
      if (at === chosen || points.some((point) => point[2] < 1e-3)) return;
      const [apex, a, b, c, d] = points.map(([u, v]) => [u * k, v * k]);
      pen.strokeStyle = "#5cadffcc";
      pen.lineWidth = 1.2;
      pen.beginPath();
      for (const corner of [a, b, c, d]) { pen.moveTo(...apex); pen.lineTo(...corner); }
      pen.moveTo(...a); for (const corner of [b, c, d, a]) pen.lineTo(...corner);
      pen.stroke();
      pane.spots.push({ at, x: (a[0] + c[0] + apex[0]) / 3, y: (a[1] + c[1] + apex[1]) / 3, depth: points[0][2] });
    });
  }
}

// --- The camera ---------------------------------------------------------------------------------

// From where another page looks.
function follow(header) {
  if (performance.now() - movedAt < 250) return;  // It does not know yet that this one moves.
  following = true;
  motion.jump(header);
  choose(-1);
  draw();
}

function moved(free = true) {
  following = false;
  movedAt = performance.now();
  if (free && motion.lens) {
    motion.lens = null;
    choose(-1);
  }
  wanted = true;
}

function choose(at) {
  chosen = at;
  $("cameras").value = String(at);
}

function jump(at) {
  if (!cameras.length) return;
  choose((at + cameras.length) % cameras.length);
  motion.jump(cameras[chosen]);
  moved(false);
}

let before = performance.now();
function tick(now) {
  const step = Math.min(0.1, (now - before) / 1000) * (held.has("shift") ? 3 : 1);
  before = now;
  if (motion) {
    keysHeld(step);
    if (wanted && socket.readyState === WebSocket.OPEN) {
      // The newest alone, once a frame.
      wanted = false;
      number += 1;
      send({ kind: "camera", number, ...motion.camera() });
      draw();
    }
    panes.forEach(facts);
  }
  requestAnimationFrame(tick);
}

function keysHeld(step) {
  const is = (key) => (held.has(key) ? 1 : 0);
  const x = is("d") - is("a"), y = is("e") - is("q"), z = is("w") - is("s");
  const turn = [is("arrowright") - is("arrowleft"), is("arrowdown") - is("arrowup")];
  if (x || y || z) { motion.walk(x * step, y * step, z * step); moved(); }
  if (turn[0] || turn[1]) {
    const way = flying ? 1 : -1;
    motion.turn(way * turn[0] * step * 0.5, way * turn[1] * step * 0.5, flying);
    moved();
  }
}

// --- Hands --------------------------------------------------------------------------------------

function hands(element) {
  const touches = new Map();
  let travelled = 0;
  const spread = () => {
    const [a, b] = [...touches.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, gap: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.target.closest("select")) return;
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    if (!touches.size) travelled = 0;
    touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  element.addEventListener("pointermove", (event) => {
    const touch = touches.get(event.pointerId);
    if (!touch) return;
    const high = element.clientHeight, old = touches.size === 2 ? spread() : null;
    const dx = (event.clientX - touch.x) / high, dy = (event.clientY - touch.y) / high;
    travelled += Math.hypot(event.clientX - touch.x, event.clientY - touch.y);
    Object.assign(touch, { x: event.clientX, y: event.clientY });
    if (travelled < 4) return;
    if (old) {
      const now = spread();
      motion.pan((now.x - old.x) / high, (now.y - old.y) / high);
      motion.nearer(old.gap / now.gap);
    } else if (event.buttons & 6 || event.shiftKey) motion.pan(dx, dy);
    else motion.turn(dx, dy, flying);
    moved();
  });
  const gone = (event) => {
    const was = touches.delete(event.pointerId);
    if (was && event.type === "pointerup" && travelled < 4) click(element, event);
  };
  element.addEventListener("pointerup", gone);
  element.addEventListener("pointercancel", gone);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    motion.nearer(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.0015));
    moved();
  }, { passive: false });
}

function click(element, event) {
  const pane = panes.find((one) => one.element === element);
  const box = pane.lines.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const near = (pane.spots || []).map((spot) => ({ ...spot, off: Math.hypot(spot.x - x, spot.y - y) }))
    .filter((spot) => spot.off < 18).sort((a, b) => a.off - b.off)[0];
  if (near) jump(near.at);
}

function motionIs(fly) {
  flying = fly;
  $("fly").setAttribute("aria-pressed", String(fly));
  $("orbit").setAttribute("aria-pressed", String(!fly));
}

function home() { choose(-1); motion.home(); moved(false); }

function frusta() {
  lines = !lines;
  $("frusta").setAttribute("aria-pressed", String(lines));
  draw();
}

async function copy() {
  const { width, height, intrinsics: k, camera_to_world: m } = motion.camera();
  const rows = [0, 4, 8, 12].map((at) => m.slice(at, at + 4));
  const frame = { fl_x: k[0], fl_y: k[4], cx: k[2], cy: k[5], w: width, h: height, transform_matrix: rows };
  const text = JSON.stringify({ camera_model: "PINHOLE", frames: [{ file_path: "view", ...frame }] }, null, 1);
  document.documentElement.dataset.copied = text;
  try {
    await navigator.clipboard.writeText(text);
    say("The pose is copied, as a transforms.json.");
  } catch {
    say("The browser does not let the pose be copied.", true);
  }
}

function save() {
  const pane = panes.find((one) => one.element === document.activeElement) || panes[0];
  if (!pane.header) return;
  if (!(pane.header.exact && pane.blob)) {
    say("The picture is not done yet.", true);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(pane.blob);
  link.download = `${pane.name.replace(/[^\w.-]+/g, "_")}-${pane.header.pass}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`Saved ${link.download}.`);
}

const KEYS = { r: home, f: () => motionIs(!flying), c: copy, p: save, v: frusta, "[": () => jump(chosen - 1), "]": () => jump(chosen + 1) };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select") || !motion) return;
  const key = event.key.toLowerCase();
  if (/^[1-9]$/.test(key)) {
    for (const pane of panes) {
      if (Number(key) > pane.passes.length) continue;
      pane.pass.selectedIndex = Number(key) - 1;
      show(pane, pane.pass.value);
    }
  } else if (KEYS[key] && !event.repeat) KEYS[key]();
  else if (key.startsWith("arrow")) event.preventDefault();
  held.add(key);
});
addEventListener("keyup", (event) => held.delete(event.key.toLowerCase()));
addEventListener("blur", () => held.clear());

$("orbit").onclick = () => motionIs(false);
$("fly").onclick = () => motionIs(true);
$("home").onclick = home;
$("copy").onclick = copy;
$("save").onclick = save;
$("frusta").onclick = frusta;
$("previous").onclick = () => jump(chosen - 1);
$("next").onclick = () => jump(chosen + 1);
$("cameras").onchange = () => (Number($("cameras").value) < 0 ? moved() : jump(Number($("cameras").value)));
connect();
requestAnimationFrame(tick);
