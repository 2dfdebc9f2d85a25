"""The ends of a run that others decide on: SIGTERM, and SIGHUP of a terminal that hangs up."""

import contextlib
import signal
from collections.abc import Callable, Iterator

_ENDS = signal.SIGTERM, signal.SIGHUP


@contextlib.contextmanager
def ended_by(stop: Callable[[int], None]) -> Iterator[None]:
    """Inside, the first of these signals calls ``stop`` with its number; those after it do nothing.

    A shell repeats what its terminal sends, and what is being tidied up must not be cut short.
    What was ignored from the start, as under nohup, stays so.
    """

    has_ended = False

    def end(number: int, _: object) -> None:
        nonlocal has_ended
        if not has_ended:
            has_ended = True
            stop(number)

    before = {}
    for each in _ENDS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            before[each] = signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            if not has_ended:
                signal.signal(each, handler)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Inside, these signals and Ctrl-C end the process as the system does it: nothing is tidied up.

    That is for waits in foreign code, in which Python would hear of no signal.
    """
    before = {}
    for each in (*_ENDS, signal.SIGINT):
        if signal.getsignal(each) is not signal.SIG_IGN:
            before[each] = signal.signal(each, signal.SIG_DFL)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def code(number: int) -> int:
    """The exit code of a process that a signal ended, as a shell has it."""
    return 128 + number
