"""What the device is that a call runs on, and what follows from that: each answer with its reason.

That is MLX's default device at the time of the call, which :func:`on` sets. Nothing outside this
folder asks MLX which device there is.
"""

import contextlib
import contextvars
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any, Literal

import mlx.core as mx

# A number of 13 bits, which cut or rounded to 11 is 1; and what the product of two of them is at
# least if neither was cut.
_SHORT, _WHOLE = 1 + 2**-12, 1 + 1.5 * 2**-12

Device = mx.DeviceType | mx.Device | Literal["cpu", "gpu"]
"""What runs a model: MLX's name for it, or the word."""

_assumed = contextvars.ContextVar("assumed", default=False)


@contextlib.contextmanager
def on(device: mx.DeviceType | mx.Device | None) -> Iterator[None]:
    """Run what is inside on a device, None being the default one; afterwards all is as it was.

    MLX has one default device for all threads, so it is switched only where it must be.
    """
    if device is None or mx.default_device() == device:
        yield
    else:
        with mx.stream(device):
            yield


def named(device: Any) -> mx.DeviceType | mx.Device | None:
    """The device that is called ``"cpu"`` or ``"gpu"``, or one of MLX's as it is.

    None is MLX's default one.

    Raises:
        ValueError: There is none of that name, or not on this machine.
    """
    found = {"cpu": mx.cpu, "gpu": mx.gpu}.get(device) if isinstance(device, str) else device
    if device is None:
        return None
    if not isinstance(found, mx.DeviceType | mx.Device):
        said = " ".join(repr(device).split())[:80]
        raise ValueError(
            f"device is {said}; it must be 'cpu' or 'gpu'. Leave it out for MLX's own."
        )
    if found != mx.cpu and not has_gpu():
        raise ValueError(
            "device is gpu; MLX has none on this machine (for NVIDIA's, install the extra cuda). "
            "Leave it out."
        )
    return found


def name() -> str:
    """``"cpu"`` or ``"gpu"``."""
    return mx.default_device().type.name


def has_gpu() -> bool:
    """Whether this machine has a GPU that MLX can use, whatever runs now."""
    return mx.is_available(mx.gpu)


def is_gpu() -> bool:
    """Whether the device is a GPU: Metal's or CUDA's."""
    return _assumed.get() or mx.default_device().type == mx.DeviceType.gpu


@contextlib.contextmanager
def assume_gpu() -> Iterator[None]:
    """Build graphs as for a GPU that keeps float32 whole, on any machine: to count its kernels."""
    token = _assumed.set(True)
    try:
        yield
    finally:
        _assumed.reset(token)


def is_assumed() -> bool:
    """Whether the GPU is only assumed, so that nothing can be computed to find out what it does."""
    return _assumed.get()


def has_cuda() -> bool:
    """Whether MLX's GPU is CUDA's, on this machine."""
    return mx.cuda.is_available()


def card() -> str:
    """What an NVIDIA GPU is called, else nothing: a Mac's has the name of its chip."""
    return str(mx.device_info()["device_name"]) if is_gpu() and has_cuda() else ""


def packs() -> bool:
    """Whether weights are kept in blocks (matmul.py): a CPU's BLAS would copy them for each use."""
    return not is_gpu()


def has_fast_exp() -> bool:
    """Whether exp and erf are cheap: MLX's CPU backend makes one scalar call an element."""
    return is_gpu()


def long_step(rows: int) -> int:
    """Frames in a long step of so many rows: fewer of more, in one memory.

    A GPU wants long steps; a CPU wants what a step makes to stay in its cache.
    """
    return max(1, (128 if is_gpu() else 16) // rows)


def clips_at_once(frames: int) -> int:
    """Whole clips of so many frames to take together: a long one alone fills a CPU's step."""
    return sys.maxsize if is_gpu() else max(1, long_step(1) // frames)


def batch_size() -> int:
    """Clips to encode at once: a GPU is then busy; a CPU is with one, and keeps it in its cache."""
    return 8 if is_gpu() else 1


def most_threads() -> int:
    """Batches to encode at once, at most: a GPU has its threads inside; each takes memory."""
    return 1 if is_gpu() else 4


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory: a GPU's as MLX says, in either of its words; a CPU's are the machine's."""
    info = mx.device_info()
    return int(info.get("memory_size", info.get("total_memory", machine_memory())))


def machine_memory() -> int:
    """Bytes of memory that the processor has: an NVIDIA GPU has its own."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cuts_matmul() -> bool:
    """Whether the device cuts the float32 that a matmul multiplies to 11 bits (tf32.py)."""
    return is_gpu() and not is_assumed() and _gpu_cuts_matmul()


def cuts_conv() -> bool:
    """Whether the device cuts the float32 that ``mx.conv1d`` multiplies to 11 bits."""
    return cuts_every_size() or (is_gpu() and not is_assumed() and _gpu_cuts_conv())


def cuts_every_size() -> bool:
    """Whether one row, few queries and any convolution may be cut as well.

    Metal has kernels for them that cut nothing. CUDA's libraries choose one for each size, so that
    what was measured of one size says nothing of others.
    """
    return has_cuda() and cuts_matmul()


def measure() -> None:
    """Find out now what the device cuts, rather than when a step is first made."""
    cuts_matmul()
    cuts_conv()


@functools.cache
def _gpu_cuts_matmul() -> bool:
    product = mx.full((512, 512), _SHORT) @ mx.full((512, 512), _SHORT)  # seen to be cut by cuBLAS
    return bool((product[0, 0] / 512 < _WHOLE).item())


@functools.cache
def _gpu_cuts_conv() -> bool:
    product = mx.conv1d(mx.full((1, 256, 64), _SHORT), mx.full((128, 8, 64), _SHORT), stride=4)
    return bool((product[0, 0, 0] / 512 < _WHOLE).item())
