// The last frames as a moving picture: loudness on top, the codes below.

const FRAMES = 100; // 8 s at most
const NARROWEST = 7; // CSS pixels of a frame
const CODES = 2048;
const COLOURS = 256;

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.brush = canvas.getContext("2d");
    this.rows = 16;
    this.clear();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize());
    this.resize();
  }

  clear() {
    this.frames = [];
    this.changed = true;
  }

  add(codes, samples) {
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    // The fourth root of the power, so that quiet speech is seen; full height at -6 dB.
    const loudness = Math.min(1, 1.41 * (sum / samples.length) ** 0.25);
    this.frames.push({ codes: codes.slice(), loudness });
    if (this.frames.length > FRAMES) this.frames.shift();
    this.changed = true;
  }

  resize() {
    const { canvas } = this;
    const scale = devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    const style = getComputedStyle(canvas);
    this.ink = style.getPropertyValue("--wave").trim() || style.color;
    this.empty = style.getPropertyValue("--line").trim();
    this.colours = ramp(style);
    this.changed = true;
  }

  draw() {
    if (!this.changed) return;
    this.changed = false;
    const { brush, canvas } = this;
    brush.clearRect(0, 0, canvas.width, canvas.height);
    const columns = Math.min(FRAMES, Math.floor(canvas.clientWidth / NARROWEST));
    const step = canvas.width / columns;
    const shown = this.frames.slice(-columns);
    for (let column = 0; column < columns; column++) {
      const left = Math.round(column * step);
      const width = Math.max(1, Math.round((column + 1) * step) - left - devicePixelRatio);
      this.drawFrame(shown[column - columns + shown.length], left, width);
    }
  }

  // A frame that is not there yet, and a codebook that is not used, are faint.
  drawFrame(frame, left, width) {
    const { brush, rows } = this;
    const top = Math.round(this.canvas.height * 0.24);
    const tall = (this.canvas.height - top) / rows;
    const half = Math.max(devicePixelRatio / 2, (frame?.loudness ?? 0) * top * 0.44);
    brush.fillStyle = frame ? this.ink : this.empty;
    brush.fillRect(left, top * 0.46 - half, width, 2 * half);
    for (let row = 0; row < rows; row++) {
      const code = frame?.codes[row];
      const y = Math.round(top + row * tall);
      const height = Math.round(top + (row + 1) * tall) - y - devicePixelRatio;
      brush.globalAlpha = code === undefined ? 0.4 : 1;
      brush.fillStyle = this.colours[Math.floor((code * COLOURS) / CODES)] ?? this.empty;
      brush.fillRect(left, y, width, height);
    }
    brush.globalAlpha = 1;
  }
}

// From --map-0 through --map-1 to --map-2 of the page's colours.
function ramp(style) {
  const stops = [0, 1, 2].map((n) => rgb(style.getPropertyValue(`--map-${n}`).trim()));
  return Array.from({ length: COLOURS }, (_, index) => {
    const at = (2 * index) / (COLOURS - 1);
    const [from, to] = at < 1 ? [stops[0], stops[1]] : [stops[1], stops[2]];
    const part = at < 1 ? at : at - 1;
    return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * part)).join()})`;
  });
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
