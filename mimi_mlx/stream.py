"""``python -m mimi_mlx.stream``: the live microphone codec, as ``mimi-mlx stream``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["stream", *sys.argv[1:]]))
