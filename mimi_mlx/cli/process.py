"""How the process begins: Ctrl-C while it imports, and ends that are closed."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Ctrl-C ends the process at once: there is nothing to clean up yet.

    Raised inside an import it would show a trace, or become some module's error. From then on it
    is raised, unless it is ignored, as in the background.
    """
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    raised = before == signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.default_int_handler if raised else before)


def fill_closed_ends() -> None:
    """In place of a closed stdin, stdout or stderr, an empty one.

    Otherwise the next file that is opened, such as the output, would be in its place.
    ``sys.stdin`` and ``sys.stdout`` stay None, by which those who need them know.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
