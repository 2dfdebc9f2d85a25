// Where the service is, and the token that it wants: `#token=...` or `?token=...` of the page.

const token =
  new URLSearchParams(location.hash.slice(1)).get("token") ??
  new URLSearchParams(location.search).get("token");

// The WebSocket address of a session; a browser can send no header with it.
export function address(path) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = token ? `?token=${encodeURIComponent(token)}` : "";
  url.hash = "";
  return url.href;
}

export function request(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(path, { ...options, headers });
}
