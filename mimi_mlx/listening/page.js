"use strict";

// The page itself: what is chosen, what is drawn, and the keys.

const { heads, clips } = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const round = (x, digits = 3) => String(Number(x.toPrecision(digits)));
const figure = (x) => (Number.isFinite(x) ? x.toPrecision(3).replace("-", "\u2212") : "\u2013");
const kbps = (version) => `${round(version.kbps)} kbps`;

function element(tag, text = "", className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

// The samples of a version as they are in the file: at its rate, so that nothing is resampled.
function decoded(version, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  return context.decodeAudioData(bytes(version.sound).buffer);
}

class Page {
  constructor() {
    this.player = null;
    this.abx = new AbxPanel($("abx"), this);
    this.loading = 0;
    clips.forEach((clip, i) => $("clips").append(new Option(clip.name, i)));
    $("chooser").hidden = clips.length < 2;
    $("clips").addEventListener("change", () => this.tryToLoad(Number($("clips").value)));
    $("play").addEventListener("click", () => this.toggle());
    $("loop").addEventListener("change", () => this.player && this.player.setLoop($("loop").checked));
    $("seek").addEventListener("input", () => this.seek(Number($("seek").value)));
    for (const id of ["original", "decoded"]) {
      $(id).addEventListener("click", (event) => {
        this.seek((event.offsetX / $(id).clientWidth) * this.clip.seconds);
      });
    }
    $("codes").addEventListener("click", (event) => {
      if (!this.player) return;
      const now = this.position * this.version.frameRate;
      const { left, wide } = layTape($("codes").clientWidth, this.tape.width, now);
      this.seek((event.offsetX - left) / wide / this.version.frameRate);
    });
    document.addEventListener("click", (event) => {
      // Who clicks with a pointer means the key for the sound, not for what was clicked.
      const control = event.target.closest("button, [type=checkbox]");
      if (event.detail && control) control.blur();
    });
    document.addEventListener("keydown", (event) => this.key(event));
    addEventListener("resize", () => this.update());
    dark.addEventListener("change", () => this.paint());
  }

  get version() {
    return this.clip.versions[this.shown];
  }

  get position() {
    return this.player ? this.player.position : 0;
  }

  title(index) {
    const { label, model } = this.clip.versions[index];
    return this.models.size > 1 && model ? `${label}, ${model}` : label;
  }

  async load(index) {
    const loading = ++this.loading;
    $("problem").hidden = true;
    if (this.player) this.player.close();
    this.player = null;
    $("play").disabled = true;
    this.clip = clips[index];
    const { name, rate, seconds, versions } = this.clip;
    this.models = new Set(versions.slice(1).map((version) => version.model));
    // What most people would send; and if there is no such version, the best one.
    const usual = versions.findIndex((version) => version.codebooks === 8);
    this.shown = usual > 0 ? usual : versions.length - 1;
    this.levels = [];
    document.title = `${name}: listen`;
    $("name").textContent = name;
    const by = `coded by ${[...this.models].join(" and ")}`;
    $("about").textContent = `${round(seconds)} s at ${round(rate / 1000)} kHz, ${by}`;
    this.listVersions();
    this.listFigures();
    this.abx.fill(versions.map((_, i) => this.title(i)), this.shown);
    $("seek").max = seconds;
    const buffers = await Promise.all(versions.map((version) => decoded(version, rate)));
    if (loading !== this.loading) return;
    const open = () => new AudioContext({ sampleRate: rate });
    this.player = new Player(buffers, open, () => this.update());
    this.player.loop = $("loop").checked;
    $("play").disabled = false;
    this.choose(0);
  }

  async tryToLoad(index) {
    try {
      await this.load(index);
    } catch (error) {
      $("problem").hidden = false;
      $("problem").textContent = `This browser cannot play the sound in the page (${error.message}).`;
    }
  }

  listVersions() {
    const most = Math.max(...this.clip.versions.map((version) => version.kbps));
    const cards = this.clip.versions.map((version, i) => {
      const label = element("label", "", "version");
      const input = Object.assign(element("input"), { type: "radio", name: "version", value: i });
      input.addEventListener("change", () => this.choose(i));
      const rate = element("span", round(version.kbps), "rate");
      rate.append(element("small", " kbps"));
      const card = element("span", "", "card");
      card.append(element("span", version.label, "label"), rate);
      if (this.models.size > 1) card.append(element("span", version.model || "", "model"));
      const share = i ? `1/${Math.round(most / version.kbps)} of it` : "16 bits a sample";
      card.append(element("span", share, "share"));
      if (i < 10) card.append(element("kbd", String(i)));
      label.append(input, card);
      return label;
    });
    $("versions").replaceChildren(...cards);
  }

  listFigures() {
    const coded = this.clip.versions.slice(1);
    const names = [...new Set(coded.flatMap((version) => Object.keys(version.figures)))];
    const head = element("tr");
    head.append(...["Version", "kbps", ...names.map((name) => heads[name] || name)].map((text) => {
      return Object.assign(element("th", text), { scope: "col" });
    }));
    const rows = coded.map((version, i) => {
      const row = element("tr");
      const title = Object.assign(element("th", this.title(i + 1)), { scope: "row" });
      const values = [version.kbps, ...names.map((name) => version.figures[name])];
      const shown = values.map((x) => element("td", figure(x)));
      row.append(title, ...shown);
      return row;
    });
    $("figures").replaceChildren(head, ...rows);
  }

  // Hear a version, and see it unless it is the original, which is always seen.
  choose(index) {
    if (!this.player || index >= this.clip.versions.length) return;
    this.player.choose(index, null, this.abx.running);
    if (this.abx.running) return;
    document.getElementsByName("version")[index].checked = true;
    if (index) this.shown = index;
    this.paint();
  }

  // While the blind test runs, nothing may tell which version is heard.
  hide(hidden) {
    document.querySelector(".told").hidden = hidden;
    $("clips").disabled = hidden;
    if (!hidden) this.choose([...document.getElementsByName("version")].findIndex((x) => x.checked));
  }

  play() {
    if (this.player) this.player.play();
  }

  pause() {
    if (this.player) this.player.pause();
  }

  toggle() {
    if (this.player && this.player.playing) this.pause();
    else this.play();
  }

  seek(position) {
    if (!this.player) return;
    this.player.seek(position);
    this.update();
  }

  key(event) {
    const at = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches("select, textarea")) return;
    const step = Math.max(0.5, this.clip.seconds / 20);
    const key = event.key.toLowerCase();
    if (key === " ") {
      if (at.matches("button, [type=checkbox]")) return;
      this.toggle();
    } else if (key === "arrowleft" && !at.matches(".wide")) this.seek(this.position - step);
    else if (key === "arrowright" && !at.matches(".wide")) this.seek(this.position + step);
    else if (this.abx.running && "abx".includes(key)) this.abx.hear(key.toUpperCase());
    else if (key === "l") $("loop").click();
    else if (!this.abx.running && /^[0-9]$/.test(key) && Number(key) < this.clip.versions.length) {
      this.choose(Number(key));
      const version = this.clip.versions[key];
      $("said").textContent = `${this.title(Number(key))}, ${kbps(version)}`;
    } else return;
    event.preventDefault();
  }

  // Draw what changes with the choice, the clip or the colours.
  paint() {
    if (!this.player) return;
    const ramp = colours(dark.matches);
    const columns = Math.min(1200, 600 * Math.ceil(devicePixelRatio));
    const levels = [0, this.shown].map((i) => {
      const samples = this.player.buffers[i].getChannelData(0);
      this.levels[i] = this.levels[i] || spectrogram(samples, this.clip.rate, columns);
      return this.levels[i];
    });
    const top = levels[0].reduce((a, b) => Math.max(a, b));
    ["original", "decoded"].forEach((id, i) => {
      drawSpectrogram($(id), levels[i], top, ramp);
      const heard = i === 0 ? this.player.heard === 0 : this.player.heard === this.shown;
      $(id).closest("figure").classList.toggle("heard", heard);
      drawAxis($(id).parentElement.querySelector(".axis"), this.clip.rate);
    });
    const version = this.version;
    const title = this.title(this.shown);
    $("decoded-caption").textContent = `${title}, ${kbps(version)}`;
    $("original").setAttribute("aria-label", "Spectrogram of the original");
    $("decoded").setAttribute("aria-label", `Spectrogram of ${title}`);
    this.codes = codesOf(version);
    const frames = this.codes.length / version.codebooks;
    this.tape = codesPicture(this.codes, version.codebooks, version.size, ramp);
    $("codes").style.height = `${Math.min(Math.max(96, 11 * version.codebooks), 256)}px`;
    $("codes").setAttribute("aria-label", `The codes of ${title}: ${frames} frames`);
    const length = round(1000 / version.frameRate);
    $("codes-note").textContent =
      `A column is a frame of ${length} ms: ${version.codebooks} numbers below ${version.size}, ` +
      "from which all of its sound is made. The upper row is the semantic codebook.";
    this.update();
  }

  // Draw what changes with the moment of the clip.
  update() {
    if (!this.player) return;
    const { position, playing } = this.player;
    const { seconds } = this.clip;
    $("play").classList.toggle("playing", playing);
    $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    $("time").textContent = `${position.toFixed(1)} / ${seconds.toFixed(1)} s`;
    $("seek").value = position;
    $("seek").setAttribute("aria-valuetext", `${position.toFixed(1)} seconds`);
    $("seek").style.setProperty("--done", `${(100 * position) / seconds}%`);
    for (const head of document.querySelectorAll(".playhead")) {
      head.style.left = `${(100 * position) / seconds}%`;
    }
    const { codebooks, frameRate } = this.version;
    const frames = this.tape.width;
    const now = Math.min(Math.floor(position * frameRate), frames - 1);
    const frame = still.matches ? now : position * frameRate;
    drawTape($("codes"), this.tape, frame, getComputedStyle(document.body).color);
    const numbers = Array.from({ length: codebooks }, (_, k) => this.codes[k * frames + now]);
    $("frame").textContent = `Frame ${now + 1} of ${frames}: ${numbers.join(" ")}`;
    cancelAnimationFrame(this.next);
    if (playing) this.next = requestAnimationFrame(() => this.update());
  }
}

// Codes [codebook][frame].
function codesOf(version) {
  const view = new DataView(bytes(version.codes).buffer);
  return Array.from({ length: view.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true));
}

function drawAxis(axis, rate) {
  const ticks = [1000, 2000, 4000, 8000, 16000].filter((hertz) => hertz < 0.45 * rate);
  axis.replaceChildren(...ticks.map((hertz) => {
    const tick = element("span", `${hertz / 1000}${hertz === ticks[ticks.length - 1] ? " kHz" : ""}`);
    tick.style.bottom = `${(100 * mel(hertz)) / mel(rate / 2)}%`;
    return tick;
  }));
}

const listen = new Page();
listen.tryToLoad(0);
