"""``mimi-mlx info``: what a model, a file of codes or a sound file is."""

import argparse
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from .. import codefile
from ..audio import reader as soundin
from ..checkpoint import hub, layouts
from ..checkpoint import load as weights
from ..checkpoint import mlx_format as converted
from ..codefile import arrays as codes_io
from ..codefile.header import MAGIC
from ..files import PIPE, open_safetensors
from ..model.config import MimiConfig
from ..model.ops import device
from ..model.ops import linux as blas
from . import sound_io as sound_ends

# Tensors of a checkpoint that count how often entries were used; they are no parameters.
_COUNTERS = (".cluster_usage", ".initialized", "._initialized")


def run(args: argparse.Namespace) -> int:
    """Print what ``args.what`` is, as lines of a name and a value; 1 if it is damaged."""
    path = Path(args.what)
    if args.what == PIPE:
        lines = _stdin()
    elif path.is_file() and path.suffix.lower() == ".mimi":
        lines = _mimi(path, path.stat().st_size)
    elif path.is_file() and _holds_codes(path):
        lines = _codes(path)
    elif path.is_file() and path.suffix != ".safetensors":
        lines = _sound(path, path.stat().st_size)
    else:
        lines = _model(args.what)
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")
    return 1 if "damage" in lines else 0


def _stdin() -> dict[str, str]:
    with sound_ends.buffered_stdin() as file:
        begin = file.read(len(MAGIC))
        size = file.seek(0, 2)
        file.seek(0)
        return (_mimi if begin == MAGIC else _sound)(file, size)


def _mimi(file: Path | BinaryIO, size: int) -> dict[str, str]:
    with codefile.Reader(file) as reader:
        for _ in reader:
            pass
        head, frames, count = reader.header, reader.frames, reader.num_codebooks
        kbps = head.frame_bytes * 8 * head.sample_rate / head.frame_size / 1000
        lines = {
            "codes": str(file) if isinstance(file, Path) else "stdin",
            "shape": f"[1, {count}, {frames}]: {count} codebooks, {frames} frames",
            "seconds": f"{reader.samples / head.sample_rate:.4f} ({reader.samples} at "
            f"{head.sample_rate} Hz)",
            "bitrate": f"{kbps:.4g} kbps, at {head.bits_per_code} bits a code and "
            f"{head.sample_rate / head.frame_size:g} frames a second",
            "size": f"{size} bytes",
        }
        if head.source_rate:
            lines["source"] = f"{head.source_rate} Hz"
        if head.fingerprint:
            model = head.metadata.get("model", "a model")
            lines["made by"] = f"{model}, fingerprint {head.fingerprint}"
        if head.metadata:
            lines["metadata"] = json.dumps(dict(head.metadata))
        if reader.damage:
            lines["damage"] = reader.damage
    return lines


def _holds_codes(path: Path) -> bool:
    if path.suffix in (".npy", ".npz"):
        return True
    if path.suffix != ".safetensors":
        return False
    try:
        with open_safetensors(path, "Encode the clip again.") as file:
            return "codes" in file.keys()  # noqa: SIM118
    except ValueError:
        return False  # loading it as a model says what is wrong


def _codes(path: Path) -> dict[str, str]:
    clip = codes_io.read(path)
    _, count, frames = clip.codes.shape
    usual = MimiConfig()  # of every Mimi that is published
    if clip.samples is None or not clip.sample_rate:
        seconds = f"{frames / usual.frame_rate:.2f}, in whole frames"
    else:
        seconds = f"{clip.samples / clip.sample_rate:.4f} ({clip.samples} at {clip.sample_rate} Hz)"
    lines = {
        "codes": str(path),
        "shape": f"[1, {count}, {frames}]: {count} codebooks, {frames} frames",
        "values": f"{clip.codes.min()} to {clip.codes.max()}",
        "seconds": seconds,
        "bitrate": f"{usual.kbps(count):.4g} kbps, at {usual.bits_per_code} bits a code and "
        f"{usual.frame_rate} frames a second",
        "size": f"{path.stat().st_size} bytes",
    }
    if clip.source_rate and clip.source_samples:
        lines["source"] = f"{clip.source_samples} samples at {clip.source_rate} Hz"
    if clip.fingerprint:
        lines["made by"] = f"{clip.model or 'a model'}, fingerprint {clip.fingerprint}"
    return lines


def _sound(file: Path | BinaryIO, size: int) -> dict[str, str]:
    with soundin.FileReader(file, mono=True) as source:
        for _ in source:  # is all of it there?
            pass
    seconds = source.given / source.sample_rate
    return {
        "sound": source.name,
        "format": source.about,
        "shape": f"{source.given} samples, channels: {source.channels}",
        "sampling rate": f"{source.sample_rate} Hz",
        "seconds": f"{seconds:.4f}",
        "bitrate": f"{size * 8 / seconds / 1000:.4g} kbps",
    }


def _model(name: str) -> dict[str, str]:
    config, files = hub.find(name)
    codec = weights.load(files, config)
    count, rate = config.num_quantizers, config.frame_rate
    size = sum(file.stat().st_size for file in files)
    return {
        "model": name,
        "files": ", ".join(str(file) for file in files),
        "size": f"{size / 1e6:.1f} MB",
        **_tensors(files),
        "audio": f"{config.sampling_rate} Hz, one channel",
        "frames": f"{rate:g} a second, {config.frame_size} samples each",
        "codebooks": f"{count}, {config.num_semantic_quantizers} of them semantic, of "
        f"{config.codebook_size} entries of {config.codebook_dim}",
        "bitrate": f"{config.kbps(1):.4g} kbps a codebook: {config.kbps(8):.4g} kbps with 8, "
        f"{config.kbps(count):.4g} kbps with all {count}",
        "fingerprint": codec.fingerprint,
        "device": device.name(),
        "BLAS": blas.blas_in_use(),
        "versions": f"mimi_mlx {version('mimi_mlx')}, mlx {version('mlx')}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}",
    }


def _tensors(files: list[Path]) -> dict[str, str]:
    """Layout and size, from the tensors' names and shapes."""
    shapes: dict[str, list[int]] = {}
    about: dict[str, str] = {}
    for path in files:
        with open_safetensors(path, "Download it again.") as file:
            about |= file.metadata() or {}
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if converted.KEY in about:
        recipe, half = converted.about(about[converted.KEY], str(files[0]))
        alone = f", the {half} alone" if half else ""
        return {"layout": f"converted: {recipe}{alone}", "tensors": str(len(shapes))}
    layout, within = layouts.layout_of(shapes)
    shapes = {name: s for name, s in shapes.items() if name.startswith(within)}
    count = sum(math.prod(s) for name, s in shapes.items() if not name.endswith(_COUNTERS))
    return {
        "layout": f"{layout}, under {within}*" if within else layout,
        "parameters": f"{count:,} in {len(shapes)} tensors",
    }
