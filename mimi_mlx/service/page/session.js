// A codec's session behind a WebSocket: samples go out, frames of codes and samples come back.

import { address, sentence, whyClosed } from "./service.js";

const PATIENCE = 2; // seconds of sound that may wait to be sent

export class Session {
  // `rate`: Hz of the samples, both ways; `codebooks`: null is as many as the service chooses.
  constructor(rate, codebooks) {
    this.rate = rate;
    this.onframe = () => {};
    this.onclosed = () => {};
    this.problem = null;
    this.socket = new WebSocket(address("roundtrip"));
    this.socket.binaryType = "arraybuffer";
    this.ready = new Promise((resolve, reject) => {
      this.reject = reject;
      this.socket.onopen = () => {
        const options = { format: "float32", rate, ...(codebooks && { codebooks }) };
        this.socket.send(JSON.stringify(options));
      };
      this.socket.onmessage = ({ data }) => this.received(data, resolve);
      this.socket.onclose = async () => {
        const error = this.problem ?? new Error(await whyClosed());
        reject(error);
        this.onclosed(error);
      };
    });
  }

  received(data, resolve) {
    if (typeof data !== "string") return this.receivedFrame(data);
    const message = JSON.parse(data);
    if (message.error) this.problem = new Error(sentence(message.error));
    if (message.codebooks) this.codebooks = message.codebooks;
    if (message.model) resolve(message);
  }

  // The frame's codes, then its samples.
  receivedFrame(data) {
    const bytes = 2 * this.codebooks;
    this.onframe(new Uint16Array(data, 0, this.codebooks), new Float32Array(data.slice(bytes)));
  }

  send(samples) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > PATIENCE * 4 * this.rate) {
      this.problem = new Error("The link to the service is too slow for live sound.");
      this.socket.close();
    } else this.socket.send(samples);
  }

  // From some frame on: the service says from which.
  choose(codebooks) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ codebooks }));
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
    this.reject(new Error("The page has closed the session."));
  }
}
