"""What ``mimi-mlx stream --list-devices`` prints."""

import json

from ..live.devices.interface import Audio, Device
from ..text import printable
from .progress import warn


def show(audio: Audio, as_json: bool) -> int:
    """Print all devices; the result is the exit code, 1 if there are none."""
    devices, taken = audio.devices(), (audio.default("input"), audio.default("output"))
    if as_json:
        print(json.dumps([_facts(device, *taken) for device in devices], indent=1))
    else:
        for device in devices:
            print(printable(_line(device, *taken)))
    if not devices:
        warn("there are no audio devices here. Plug one in, or give --input and --no-playback.")
    return 0 if devices else 1


def _facts(device: Device, input: int | None, output: int | None) -> dict[str, object]:
    defaults = device.number == input, device.number == output
    names = "is_default_input", "is_default_output"
    return {**device._asdict(), **dict(zip(names, defaults, strict=True))}


def _line(device: Device, input: int | None, output: int | None) -> str:
    """> and < mark the devices that are taken if none is asked for."""
    return (
        f"{'>' if device.number == input else ' '}"
        f"{'<' if device.number == output else ' '} {device.number:3} {device.name} "
        f"({device.system}): {device.inputs} in, {device.outputs} out, {device.rate} Hz"
    )
