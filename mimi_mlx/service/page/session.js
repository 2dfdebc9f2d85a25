// A codec's session behind a WebSocket: samples go out, frames of codes and samples come back.

const PATIENCE = 2; // seconds of sound that may wait to be sent

// One plain line for a person, and whether the service is not there at all.
export class ServiceError extends Error {}

export class Session {
  constructor(url, { rate, codebooks }) {
    this.rate = rate;
    this.codebooks = codebooks;
    this.onframe = () => {};
    this.onclosed = () => {};
    this.problem = null;
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.ready = new Promise((resolve, reject) => {
      this.socket.onopen = () =>
        this.socket.send(JSON.stringify({ format: "float32", rate, codebooks }));
      this.socket.onmessage = ({ data }) => this.received(data, resolve);
      this.socket.onclose = ({ code }) => {
        const error = this.problem ?? lost(code);
        reject(error);
        this.onclosed(error);
      };
    });
  }

  received(data, resolve) {
    if (typeof data !== "string") return this.receivedFrame(data);
    const message = JSON.parse(data);
    if (message.error) this.problem = new ServiceError(message.error);
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
      this.problem = new ServiceError("The link to the service is too slow for live sound.");
      this.socket.close();
    } else this.socket.send(samples);
  }

  // From some frame on: the service says from which.
  choose(codebooks) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ codebooks }));
  }

  close() {
    this.onclosed = () => {};
    this.socket.close();
  }
}

function lost(code) {
  return new ServiceError(
    code === 1006
      ? "The service does not answer. Is mimi-mlx serve still running?"
      : "The service ended the session.",
  );
}
