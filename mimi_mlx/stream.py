"""``python -m mimi_mlx.stream``: the live microphone codec, as ``mimi-mlx stream``."""

import signal
import sys

# Until the command line is there, Ctrl-C just ends the process.
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["stream", *sys.argv[1:]]))
