// Microphone to codec to headphones: one context, one worklet, one session.

import { openMicrophone } from "./microphone.js";
import { Session } from "./session.js";

const RATE = 24000; // Mimi's own: the browser converts from and to the devices'
const PATIENCE = 10000; // ms until headphones must have opened

export class Live {
  // `on`: ready(service), frame(codes, samples), report(figures) and ended(error), with null where
  // the page ended it.
  constructor(on) {
    this.on = on;
    this.ended = false;
  }

  // Resolves when sound goes round, or when it has ended; `device` is a deviceId or "".
  async start(device, codebooks) {
    try {
      this.microphone = await openMicrophone(device);
      if (!this.ended) await this.openContext();
      if (this.ended) return this.release(); // what came after it was stopped
      this.session = new Session(this.context.sampleRate, codebooks);
      this.session.onclosed = (error) => this.stop(error);
      const service = await this.session.ready;
      this.on.ready(service);
      await this.flow(service);
    } catch (error) {
      this.stop(error);
    }
    if (this.ended) this.release();
  }

  async openContext() {
    try {
      await this.makeContext({ sampleRate: RATE });
      this.connect();
    } catch (error) {
      // A browser that cannot join a microphone to a context of another rate: the service converts.
      if (error.name !== "NotSupportedError") throw error;
      this.context.onstatechange = null;
      await this.context.close();
      await this.makeContext({});
      this.connect();
    }
  }

  async makeContext(options) {
    this.context = new AudioContext({ latencyHint: "interactive", ...options });
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
    await Promise.race([this.context.resume(), late]); // for ever, where there is no device
    if (this.context.state !== "running") {
      throw new Error("The browser opens no headphones. Check where it plays sound.");
    }
    this.context.onstatechange = () => {
      if (this.context.state !== "running") this.stop(new Error("The browser stopped the sound."));
    };
  }

  connect() {
    this.source?.disconnect();
    this.source = this.context.createMediaStreamSource(this.microphone);
    this.source.connect((this.input ??= new AnalyserNode(this.context, { fftSize: 2048 })));
    if (this.node) this.source.connect(this.node);
    const [track] = this.microphone.getAudioTracks();
    track.onended = () => this.stop(new Error("The microphone went away."));
  }

  async flow({ frame_rate: frameRate }) {
    const { context, session } = this;
    await context.audioWorklet.addModule("worklet.js");
    this.node = new AudioWorkletNode(context, "codec", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
      processorOptions: { frame: Math.round(context.sampleRate / frameRate) },
    });
    this.output = new AnalyserNode(context, { fftSize: 2048 });
    this.node.port.onmessage = ({ data }) => this.captured(data);
    session.onframe = (codes, samples) => {
      this.on.frame(codes, samples);
      this.node.port.postMessage(samples, [samples.buffer]);
    };
    this.source.connect(this.node).connect(this.output);
    this.node.connect(context.destination);
  }

  captured(report) {
    if (this.ended) return;
    this.session.send(report.samples);
    this.on.report({ ...report, ...this.latencies() });
  }

  // Seconds that the browser tells of, beside the samples that are counted; 0 where it does not.
  latencies() {
    const { baseLatency, outputLatency, sampleRate } = this.context;
    const [track] = this.microphone.getAudioTracks();
    return {
      sampleRate,
      speaker: (baseLatency || 0) + (outputLatency || 0),
      capture: track.getSettings().latency || 0,
    };
  }

  async changeDevice(device) {
    const microphone = await openMicrophone(device);
    stopTracks(this.microphone);
    this.microphone = microphone;
    if (this.ended) stopTracks(microphone);
    else this.connect();
  }

  choose(codebooks) {
    this.session?.choose(codebooks);
  }

  stop(error = null) {
    if (this.ended) return;
    this.ended = true;
    this.release();
    this.on.ended(error);
  }

  release() {
    this.session?.close();
    if (this.microphone) stopTracks(this.microphone);
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}
