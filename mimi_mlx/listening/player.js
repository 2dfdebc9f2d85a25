"use strict";

// Plays all versions of a clip at once, of which one is heard. To choose another is to turn two
// volumes: nothing starts or stops, and so there is no gap, and the moment of the clip is the same.

const RAMP = 0.005; // seconds in which one version fades into another
const AHEAD = 0.02; // seconds from a wish to its moment, which the browser must not have passed

function fade(gain, from, to, at) {
  gain.gain.setValueAtTime(from, at);
  gain.gain.linearRampToValueAtTime(to, at + RAMP);
}

// One run of all versions, from a moment of the clip on.
class Take {
  constructor(context, buffers, heard, at, offset, loop) {
    Object.assign(this, { heard, at, offset, loop, duration: buffers[0].duration });
    this.free = at + RAMP; // when the next fade may begin: none cuts another short
    this.out = new GainNode(context, { gain: 0 });
    this.out.connect(context.destination);
    fade(this.out, 0, 1, at);
    this.gains = buffers.map((_, i) => new GainNode(context, { gain: i === heard ? 1 : 0 }));
    this.sources = buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop });
      source.connect(this.gains[i]).connect(this.out);
      source.start(at, offset);
      return source;
    });
  }

  positionAt(time) {
    const position = this.offset + Math.max(0, time - this.at);
    return this.loop ? position % this.duration : Math.min(position, this.duration);
  }

  choose(index, at) {
    if (index === this.heard) return;
    at = Math.max(at, this.free);
    fade(this.gains[this.heard], 1, 0, at);
    fade(this.gains[index], 0, 1, at);
    this.heard = index;
    this.free = at + RAMP;
  }

  // By way of silence, also to the one that is heard: how it changes must not tell which it is.
  chooseBlind(index, at) {
    at = Math.max(at, this.free);
    fade(this.out, 1, 0, at);
    this.gains[this.heard].gain.setValueAtTime(0, at + RAMP);
    this.gains[index].gain.setValueAtTime(1, at + RAMP);
    fade(this.out, 0, 1, at + RAMP);
    this.heard = index;
    this.free = at + 2 * RAMP;
  }

  end(at) {
    at = Math.max(at, this.free);
    fade(this.out, 1, 0, at);
    this.sources.forEach((source) => source.stop(at + RAMP));
  }
}

class Player {
  // buffers: AudioBuffers of one rate and length. open: makes the context, which browsers want
  // made only when somebody asks for sound. changed: is called when playing starts or ends.
  constructor(buffers, open, changed = () => {}) {
    Object.assign(this, { buffers, open, changed, heard: 0, loop: true });
    this.context = this.take = null;
    this.offset = 0; // seconds, where it begins when it plays next
  }

  get duration() {
    return this.buffers[0].duration;
  }

  get playing() {
    return this.take !== null;
  }

  // Seconds: what is heard now.
  get position() {
    if (!this.take) return this.offset;
    return this.take.positionAt(this.context.currentTime - (this.context.outputLatency || 0));
  }

  play() {
    if (this.take) return;
    this.context = this.context || this.open();
    if (this.context.state !== "running") this.context.resume();
    if (this.offset >= this.duration) this.offset = 0;
    this.begin(this.soon(), this.offset);
    this.changed();
  }

  pause() {
    if (!this.take) return;
    const at = this.soon();
    this.offset = this.take.positionAt(at);
    this.take.end(at);
    this.take = null;
    this.changed();
  }

  seek(position) {
    position = Math.min(Math.max(position, 0), this.duration);
    if (this.take) this.begin(this.soon(), position);
    else this.offset = position;
  }

  choose(index, at = null, blind = false) {
    this.heard = index;
    if (this.take) this.take[blind ? "chooseBlind" : "choose"](index, at ?? this.soon());
  }

  setLoop(loop) {
    this.loop = loop;
    if (!this.take) return;
    const at = this.soon();
    this.begin(at, this.take.positionAt(at));
  }

  // What is playing, if anything is, fades into a new take.
  begin(at, position) {
    if (this.take) this.take.end(at);
    const rate = this.context.sampleRate;
    const offset = Math.round(position * rate) / rate;
    const take = new Take(this.context, this.buffers, this.heard, at, offset, this.loop);
    this.take = take;
    take.sources[0].onended = () => {
      if (this.take !== take) return;
      this.take = null;
      this.offset = this.duration;
      this.changed();
    };
  }

  // On a whole sample: between two of them all would be interpolated.
  soon() {
    const rate = this.context.sampleRate;
    return Math.ceil((this.context.currentTime + AHEAD) * rate) / rate;
  }

  close() {
    this.pause();
    if (this.context) this.context.close();
  }
}
