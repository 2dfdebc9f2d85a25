"use strict";

// Spectrograms and codes on canvases, in colours whose lightness is even to the eye.

const ROWS = 128; // of a spectrogram, equally high in mel
const RANGE = 70; // dB below the original's loudest that are drawn
const FRAME = 14; // CSS pixels that a frame of codes is wide, or more in a short clip

// 256 colours, pixels of canvases, from the page's ground to its opposite: OKLab with L in even steps.
// Source: https://bottosson.github.io/posts/oklab/
function colours(dark) {
  return Array.from({ length: 256 }, (_, i) => {
    const x = i / 255;
    const light = dark ? 0.19 + 0.77 * x : 0.985 - 0.75 * x;
    const hue = ((dark ? 280 - 180 * x : 150 + 125 * x) * Math.PI) / 180;
    const chroma = 0.105 * Math.sin(Math.PI * (0.02 + 0.9 * x));
    return oklab(light, chroma * Math.cos(hue), chroma * Math.sin(hue));
  });
}

function oklab(light, a, b) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const [red, green, blue] = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((x) => {
    const clipped = Math.min(Math.max(x, 0), 1);
    const gamma = clipped > 0.0031308 ? 1.055 * clipped ** (1 / 2.4) - 0.055 : 12.92 * clipped;
    return Math.round(255 * gamma);
  });
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// Draw a picture of width * height colours on a canvas of that many dots.
function drawDots(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) pixels[i] = colour(x, y);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const hertz = (mel) => 700 * (10 ** (mel / 2595) - 1);

// The discrete Fourier transform in place, of a power of two.
function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const c = Math.cos(angle);
      const s = Math.sin(angle);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const x = re[j] * c - im[j] * s;
        const y = re[j] * s + im[j] * c;
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}

// Levels in dB, [column][row] with the lowest row first, of windows of some 43 ms.
function spectrogram(samples, rate, columns) {
  const size = 2 ** Math.round(Math.log2(0.043 * rate));
  const taper = Float32Array.from({ length: size }, (_, i) => Math.sin((Math.PI * i) / size) ** 2);
  const top = mel(rate / 2);
  const edges = Array.from({ length: ROWS + 1 }, (_, i) => (hertz((top * i) / ROWS) * size) / rate);
  const levels = new Float32Array(columns * ROWS);
  const re = new Float32Array(size);
  const im = new Float32Array(size);
  for (let column = 0; column < columns; column++) {
    const start = Math.round(((column + 0.5) * samples.length) / columns - size / 2);
    for (let i = 0; i < size; i++) re[i] = (samples[start + i] || 0) * taper[i];
    im.fill(0);
    fft(re, im);
    const power = (bin) => re[bin] ** 2 + im[bin] ** 2;
    for (let row = 0; row < ROWS; row++) {
      let most = 0;
      const middle = (edges[row] + edges[row + 1]) / 2;
      const bin = Math.min(Math.floor(middle), size / 2 - 1);
      most = power(bin) + (middle - bin) * (power(bin + 1) - power(bin)); // rows within a bin
      for (let k = Math.ceil(edges[row]); k < edges[row + 1]; k++) most = Math.max(most, power(k));
      levels[column * ROWS + row] = 10 * Math.log10(most + 1e-12);
    }
  }
  return levels;
}

function drawSpectrogram(canvas, levels, top, ramp) {
  drawDots(canvas, levels.length / ROWS, ROWS, (x, y) => {
    const share = 1 + (levels[x * ROWS + ROWS - 1 - y] - top) / RANGE;
    return ramp[Math.round(255 * Math.min(Math.max(share, 0), 1))];
  });
}

// The codes [codebook][frame] as a picture of a dot each, to be drawn larger.
function codesPicture(codes, codebooks, size, ramp) {
  const frames = codes.length / codebooks;
  const canvas = document.createElement("canvas");
  drawDots(canvas, frames, codebooks, (x, y) => {
    return ramp[Math.round(20 + (225 * codes[y * frames + x]) / Math.max(size - 1, 1))];
  });
  return canvas;
}

// A tape of so many frames, in CSS pixels: how wide a frame is, and where the first one begins, for
// `frame` to be under the middle; but no end of the tape comes inside.
function layTape(width, frames, frame) {
  const wide = Math.max(FRAME, width / frames);
  const left = Math.max(width / 2 - frame * wide, width - frames * wide);
  return { wide, left: Math.min(0, left) };
}

// The tape at a frame, which may have a fraction, and an outline around that frame.
function drawTape(canvas, picture, frame, outline) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  const tape = layTape(canvas.clientWidth, picture.width, frame);
  const wide = tape.wide * scale;
  const left = tape.left * scale;
  context.drawImage(picture, left, 0, picture.width * wide, height);
  context.strokeStyle = outline;
  context.lineWidth = 2 * scale;
  const now = Math.min(Math.floor(frame), picture.width - 1);
  context.strokeRect(left + now * wide, scale, wide, height - 2 * scale);
}
