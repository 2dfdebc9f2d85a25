"""What ``mimi-mlx`` runs first: until the command line is there, Ctrl-C just ends the process.

It lies beside the package, whose own import is long enough for Ctrl-C to show a trace.
"""

import signal
import sys

if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run one command; the result is the process's exit code."""
    from mimi_mlx.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
