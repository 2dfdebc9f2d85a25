// Sends samples through `mimi-mlx serve`, in a browser or Node.js 22.
// node examples/service_client.mjs ws://127.0.0.1:8788 24000 <in.f32 >out.f32

/** Samples, a Float32Array, there and back: a list of the same, one for each frame. */
export function roundtrip(url, samples, rate, codebooks = 8) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url}/roundtrip`), heard = [];
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(JSON.stringify({ rate, codebooks }));
      for (let i = 0; i < samples.length; i += 4800) socket.send(samples.slice(i, i + 4800));
      socket.send(JSON.stringify({ end: true }));
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        heard.push(new Float32Array(data.slice(2 * codebooks))); // codes, then samples
        return;
      }
      const said = JSON.parse(data);
      codebooks = said.codebooks ?? codebooks;
      if (said.error) reject(new Error(said.error));
      if (said.end) resolve(heard);
    };
    socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
  });
}

if (typeof process === "object") {
  const { readFileSync } = await import("node:fs");
  const samples = new Float32Array(new Uint8Array(readFileSync(0)).buffer);
  for (const part of await roundtrip(process.argv[2], samples, Number(process.argv[3])))
    process.stdout.write(new Uint8Array(part.buffer));
}
