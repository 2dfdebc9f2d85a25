// What came back and waits for its time. Bounded, and back at its target after any hiccup.

const CAPACITY = 1 << 17; // samples; 5.4 s at 24 kHz
const AT_MOST = 4; // frames held before playing
const ARRIVALS = 13; // about a second of frames: how long an excess lasts before it is left out
const CALM = 10; // such seconds without a hole, after which less may be held

export class JitterBuffer {
  // `frame` is the number of samples that come at once.
  constructor(frame) {
    this.frame = frame;
    this.target = frame / 2; // samples still there when the next frame comes
    this.ring = new Float32Array(CAPACITY);
    this.written = 0; // samples, ever
    this.read = 0;
    this.playing = false;
    this.wait = 0; // samples of silence before the first frame plays
    this.underruns = 0;
    this.dropped = 0;
    this.excess = 0;
    this.watch();
  }

  get level() {
    return this.written - this.read;
  }

  watch() {
    this.lowest = Infinity; // of the levels as frames came, in this second
    this.arrivals = 0;
    this.spare = Infinity; // and since there was no hole, or for ten seconds
    this.seconds = 0;
  }

  push(samples) {
    if (this.playing) this.measure();
    else if (this.level === 0) this.wait = this.target;
    for (const sample of samples) this.ring[this.written++ % CAPACITY] = sample;
    if (this.level > CAPACITY) this.skip(this.level - CAPACITY);
  }

  // The least that was there as a frame came, of a second's frames, says how much is too much.
  measure() {
    this.lowest = Math.min(this.lowest, this.level);
    if (++this.arrivals < ARRIVALS) return;
    this.spare = Math.min(this.spare, this.lowest);
    if (++this.seconds === CALM) this.relax();
    const excess = this.lowest - this.target;
    if (excess > this.frame / 4) this.excess = excess;
    this.lowest = Infinity;
    this.arrivals = 0;
  }

  // Half a frame less, if there would still have been a quarter of one left.
  relax() {
    const half = this.frame / 2;
    if (this.target > half && this.spare > half + half / 2) this.target -= half;
    this.spare = Infinity;
    this.seconds = 0;
  }

  skip(count) {
    this.read += count;
    this.dropped += count;
  }

  // Fills `out`; returns how many samples of it are sound, the rest is silence.
  pull(out) {
    if (!this.playing) {
      if (this.level === 0) return 0;
      this.wait -= out.length;
      if (this.wait > 0) return 0;
      this.playing = true;
    }
    const count = Math.min(out.length, this.level);
    const over = this.excess;
    const fades = over > 0 && this.level >= over + out.length;
    for (let i = 0; i < count; i++) {
      const here = this.ring[(this.read + i) % CAPACITY];
      const later = fades ? this.ring[(this.read + i + over) % CAPACITY] : here;
      out[i] = fades ? here + (later - here) * ((i + 1) / count) : here;
    }
    if (fades) {
      this.skip(over);
      this.excess = 0;
    }
    this.read += count;
    if (count < out.length) this.underrun();
    return count;
  }

  underrun() {
    this.underruns++;
    this.playing = false;
    this.target = Math.min(this.target + this.frame / 2, AT_MOST * this.frame);
    this.excess = 0;
    this.watch();
  }
}
