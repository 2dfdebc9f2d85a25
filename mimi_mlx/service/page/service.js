// Where the service is, and the token that it wants: `#token=...` or `?token=...` of the page.

// Read each time, for another `#...` loads no page anew.
const token = () =>
  new URLSearchParams(location.hash.slice(1)).get("token") ??
  new URLSearchParams(location.search).get("token");

// The WebSocket address of a session; a browser can send no header with it.
export function address(path) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = token() ? `?token=${encodeURIComponent(token())}` : "";
  url.hash = "";
  return url.href;
}

export function request(path, options = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  return fetch(path, { ...options, headers });
}

// Why there is no session, as far as a browser can find out.
export async function whyClosed() {
  let answer;
  try {
    answer = await request("roundtrip"); // which it refuses, and says what it does not like
  } catch {
    return "The service does not answer. Is mimi-mlx serve still running?";
  }
  if (answer.status === 401) {
    return `The service wants its token: open ${location.origin}/#token=TOKEN, with TOKEN as it was given.`;
  }
  return "The link to the service broke off. Start again to connect.";
}

// A line of the service's as a person writes it.
export function sentence(line) {
  return line[0].toUpperCase() + line.slice(1) + (/[.!?]$/.test(line) ? "" : ".");
}
