// The page: what is pressed and moved goes to the live codec, what comes back is shown.

import { openFiles } from "./files.js";
import { Live } from "./live.js";
import { Meter } from "./meter.js";
import { microphones, whyNotHere } from "./microphone.js";
import { Picture } from "./picture.js";

const BITS = 11; // of a code: Mimi's codebooks have 2048 entries
const SAY_EACH = 500; // ms between figures: a person reads no faster

const byId = (id) => document.getElementById(id);
const play = byId("play");
const slider = byId("codebooks");
const device = byId("device");
const picture = new Picture(byId("picture"));
const meters = [new Meter(byId("in")), new Meter(byId("out"))];

let live = null;
let said = 0;
let frameRate = 0;
let chosen = null; // number of codebooks; null is as the service does

function state(isLive, line) {
  play.classList.toggle("playing", isLive);
  play.setAttribute("aria-label", isLive ? "Stop" : "Start");
  byId("state").textContent = line;
}

function problem(error) {
  byId("problem").hidden = !error;
  byId("problem").textContent = error?.message ?? "";
}

const on = {
  ready(service) {
    frameRate = service.frame_rate;
    slider.max = service.max_codebooks;
    slider.value = service.codebooks;
    picture.rows = service.max_codebooks;
    byId("service").textContent = `Model ${service.model}, up to ${service.max_codebooks} codebooks`;
    state(true, "Live: you hear what the codes say.");
    listDevices();
  },
  frame(codes, samples) {
    picture.add(codes, samples);
    byId("frame").textContent = Array.from(codes, (code) => String(code).padStart(4)).join(" ");
    byId("codebooks-shown").value = codes.length;
    byId("kbps").textContent = `${((codes.length * BITS * frameRate) / 1000).toFixed(2)} kbps`;
  },
  report(figures) {
    if (performance.now() - said < SAY_EACH) return;
    said = performance.now();
    for (const meter of meters) meter.say();
    showFigures(figures);
  },
  ended(error) {
    live = null;
    problem(error);
    state(false, error ? "Stopped." : "Press, and speak.");
  },
};

function showFigures({ sampleRate, delay, target, underruns, dropped, speaker, capture }) {
  const ms = (seconds) => Math.round(1000 * seconds);
  const inside = delay / sampleRate;
  byId("delay").textContent = delay ? `${ms(inside + speaker + capture)} ms` : "–";
  byId("held").textContent = `${ms(target / sampleRate)} ms`;
  byId("underruns").textContent = underruns;
  byId("dropped").textContent = `${ms(dropped / sampleRate)} ms`;
  byId("delay-parts").textContent =
    `Counted: ${ms(inside)} ms. The browser tells of ${ms(speaker)} ms to the headphones` +
    (capture ? ` and ${ms(capture)} ms in the microphone.` : " and of none in the microphone.");
}

play.addEventListener("click", () => {
  if (live) return live.stop();
  problem(null);
  picture.clear();
  state(true, "Waiting for the microphone and the service …");
  live = new Live(on);
  live.start(device.value, chosen);
});

slider.addEventListener("input", () => {
  chosen = Number(slider.value);
  if (live) live.choose(chosen);
  else byId("codebooks-shown").value = chosen;
});

device.addEventListener("change", () => {
  live?.changeDevice(device.value).catch(problem);
});

async function listDevices() {
  const found = await microphones();
  const chosen = device.value;
  device.replaceChildren(device.options[0]);
  for (const { id, name } of found) device.add(new Option(name, id));
  device.value = found.some(({ id }) => id === chosen) ? chosen : "";
  device.disabled = found.length === 0;
}

function draw() {
  meters[0].draw(live?.input);
  meters[1].draw(live?.output);
  picture.draw();
  requestAnimationFrame(draw);
}

const missing = whyNotHere();
if (missing) {
  problem(new Error(missing));
  state(false, "No microphone here.");
  play.disabled = true;
}
navigator.mediaDevices?.addEventListener("devicechange", listDevices);
listDevices();
openFiles();
draw();
