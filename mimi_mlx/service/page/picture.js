// The last frames as a moving picture: loudness on top, the codes below, in the colours of the
// listening page (its pictures.js).

const FRAMES = 100; // 8 s at most
const NARROWEST = 7; // CSS pixels of a frame
const CODES = 2048;

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.brush = canvas.getContext("2d");
    this.rows = 16;
    this.clear();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => this.resize());
    this.resize();
  }

  clear() {
    this.frames = [];
    this.changed = true;
  }

  add(codes, samples) {
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    // The fourth root of the power, so that quiet speech is seen; full height at -12 dB.
    const loudness = Math.min(1, 2 * (sum / (samples.length || 1)) ** 0.25);
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
    this.ink = style.getPropertyValue("--accent");
    this.empty = style.getPropertyValue("--line");
    this.ramp = colours(this.dark.matches).map(
      (pixel) => `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`,
    );
    this.changed = true;
  }

  // What has changed since it was last drawn.
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
      brush.fillStyle = this.ramp[Math.round(20 + (225 * code) / (CODES - 1))] ?? this.empty;
      brush.fillRect(left, y, width, height);
    }
    brush.globalAlpha = 1;
  }
}
