"""The codec behind HTTP and WebSocket: docs/serve.md specifies it. Needs aiohttp."""
