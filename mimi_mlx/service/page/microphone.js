// The microphone as it is, and in plain words why there is none.

export async function openMicrophone(device) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(whyNotHere());
  const audio = {
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
    channelCount: { ideal: 1 },
    ...(device && { deviceId: { exact: device } }),
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    if (error.name === "OverconstrainedError" && device) return openMicrophone("");
    throw new Error(WHY[error.name] ?? `The browser gives no microphone: ${error.message}`);
  }
}

// [{id, name}] of the microphones; names are there once the browser has allowed one.
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter(({ kind, label }) => kind === "audioinput" && label)
    .map(({ deviceId, label }) => ({ id: deviceId, name: label }));
}

// Null, or the reason why this page can have no microphone.
export function whyNotHere() {
  if (navigator.mediaDevices?.getUserMedia) return null;
  if (window.isSecureContext) return "This browser has no microphone for pages.";
  const { hostname, port } = location;
  const there = port || "80";
  return (
    "Browsers give a microphone only to pages from this machine or over https, and this one came " +
    `by http from ${hostname}. Put https before the service, or make a tunnel and open the page ` +
    `at its end: ssh -L ${there}:localhost:${there} ${hostname}, then http://localhost:${there}/`
  );
}

const WHY = {
  NotAllowedError:
    "The browser did not allow the microphone. Allow it for this page in the address bar, then start again.",
  NotFoundError: "There is no microphone. Plug one in, then start again.",
  NotReadableError: "The microphone does not open: another program may have it.",
};
