"""What to tell a person who would be lost."""

import sys

from .interface import Device

# Of what hears only itself, in names of devices.
_PRIVATE = ("headphone", "headset", "airpods", "earphone", "earbud", "buds")

# At this rate and below, a Bluetooth headset is in the mode that it takes phone calls in.
_PHONE_RATE = 24000


def is_private(output: Device) -> bool:
    """Whether a microphone does not hear it, as far as its name tells."""
    return any(word in output.name.lower() for word in _PRIVATE)


def echo() -> str:
    """About a microphone that may hear the speaker."""
    return "hint: use headphones, or the sound goes round in circles"


def unheard(port: int) -> str:
    """About a listener whom nobody has sent anything."""
    return f"hint: nobody is heard yet. Does the other end --send to port {port} here?"


def zeros() -> str:
    """About a microphone that gives nothing but zeros."""
    if sys.platform == "darwin":
        return (
            "hint: the microphone gives exact zeros. Allow this terminal to use it: System "
            "Settings > Privacy & Security > Microphone; then start the terminal anew"
        )
    return "hint: the microphone gives exact zeros; it may be muted, or the wrong one (-i)"


def rate(before: int, now: int) -> str | None:
    """About a device whose own rate has changed."""
    if now >= before or now > _PHONE_RATE:
        return None
    return (
        "hint: a Bluetooth headset whose microphone is used plays and records like a phone; use "
        "another microphone (-i), and it sounds better"
    )
