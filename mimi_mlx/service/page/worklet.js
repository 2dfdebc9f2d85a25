// Capture and playback in one processor, so that one clock counts both.

import { JitterBuffer } from "./jitter-buffer.js";

class CodecProcessor extends AudioWorkletProcessor {
  // `frame`: samples of 80 ms at the context's rate.
  constructor({ processorOptions: { frame } }) {
    super();
    this.frame = frame;
    this.buffer = new JitterBuffer(frame);
    this.chunk = new Float32Array(frame);
    this.filled = 0;
    this.captured = 0; // samples, ever
    this.delay = 0;
    this.port.onmessage = ({ data }) => this.buffer.push(data);
  }

  process([[microphone]], [[speaker]]) {
    this.play(speaker);
    this.capture(microphone, speaker.length);
    return true;
  }

  // No input is silence: the clock goes on while a microphone is changed.
  capture(samples, length) {
    for (let i = 0; i < length; i++) {
      this.chunk[this.filled++] = samples ? samples[i] : 0;
      if (this.filled === this.frame) this.report();
    }
    this.captured += length;
  }

  play(speaker) {
    const { buffer } = this;
    const count = buffer.pull(speaker);
    // While the sample `captured` comes in, the one that is as many before it goes out.
    if (count) this.delay = this.captured + count - buffer.read;
  }

  report() {
    const { target, underruns, dropped } = this.buffer;
    const samples = this.chunk;
    const report = { samples, delay: this.delay, target, underruns, dropped };
    this.port.postMessage(report, [samples.buffer]);
    this.chunk = new Float32Array(this.frame);
    this.filled = 0;
  }
}

registerProcessor("codec", CodecProcessor);
