"""``mimi-mlx info``: what a model, a file of codes or a sound file is."""

import argparse
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from .. import codefile
from ..audio.reader import FileReader
from ..checkpoint import hub, layouts, mlx_format
from ..checkpoint.load import load
from ..codefile import arrays
from ..codefile.header import MAGIC
from ..files import is_pipe, open_pipe, open_safetensors, pipe_name
from ..model.ops import device, linux
from ..text import counted, printable
from . import code_io, sound_io
from .progress import warn

# Tensors of a checkpoint that count how often entries were used; they are no parameters.
_COUNTERS = (".cluster_usage", ".initialized", "._initialized")

_TRAINED = ("base", "step", "sound", "codebooks")  # what is told of what config.json says of it


class Description(NamedTuple):
    """What something is: for people, lines by their names; for programs, facts."""

    lines: dict[str, str]
    facts: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = (
        "a file, - for stdin (.mimi or sound), a folder, a Hub id such as kyutai/mimi, or tiny; or "
        "several of them"
    )
    parser.add_argument("what", metavar="FILE|MODEL", nargs="*", help=what)
    parser.add_argument("--model", action="append", default=[], help="the same as MODEL")
    parser.add_argument("--json", action="store_true", help="print JSON; of several, a list")


def run(args: argparse.Namespace) -> int:
    """Print what each of ``args.what`` is, as lines of a name and a value; 1 if one is bad."""
    wanted, bad = [*args.what, *args.model], False
    found: list[dict[str, Any]] = []
    if not wanted:
        raise ValueError("nothing to describe. Give a file or a model, such as tiny.")
    for what in wanted:
        try:
            about = _describe(what)
        except (ValueError, OSError) as error:
            if len(wanted) == 1:
                raise
            warn(str(error))
            bad = True
            continue
        if not args.json:
            _print(about.lines, after=bool(found))
        found.append(about.facts)
        bad = bad or "damage" in about.lines
    if args.json:
        print(json.dumps(found if len(wanted) > 1 else found[0], indent=1))
    return 1 if bad else 0


def _print(lines: dict[str, str], after: bool) -> None:
    """The lines of one; an empty one in front if it comes after another."""
    if after:
        print()
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {printable(value)}")


def _describe(what: str) -> Description:
    path = Path(what)
    if is_pipe(what):
        return _pipe(what)
    if path.is_file() and code_io.is_own(path):
        return _mimi(path, path.stat().st_size, what)
    if path.is_file() and _holds_codes(path):
        return _codes(what, path.stat().st_size, code_io.ClipReader(arrays.read(path)))
    if path.is_file() and path.suffix != ".safetensors":
        return _sound(path, path.stat().st_size, what)
    return _model(what)


def _pipe(path: str) -> Description:
    name = pipe_name(path)
    with open_pipe(path) as pipe, sound_io.buffered(pipe) as file:
        begin = file.read(len(MAGIC))
        size = file.seek(0, 2)
        file.seek(0)
        return (_mimi if begin == MAGIC else _sound)(file, size, name)


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


def _mimi(file: Path | IO[bytes], size: int, name: str) -> Description:
    with codefile.Reader(file) as reader:
        return _codes(name, size, reader)


def _codes(name: str, size: int, reader: code_io.CodeReader) -> Description:
    """What is known of codes, of a .mimi file or of arrays."""
    own = isinstance(reader, codefile.Reader)
    values = ""
    for codes in reader:  # arrays are one block
        values = f"{codes.min()} to {codes.max()}"
    head, count = reader.header, reader.num_codebooks
    # Arrays do not say how long a frame is: then as long as of every published Mimi.
    rate = (head.sample_rate if own else codefile.Header.sample_rate) / head.frame_size
    bits = head.bits_per_code
    kbps = (head.frame_bytes * 8 if own else count * bits) * rate / 1000
    seconds = f"{reader.samples / head.sample_rate:.4f} ({reader.samples} at {head.sample_rate} Hz)"
    if not own and head.samples is None:
        seconds = f"{reader.frames / rate:.2f}, in whole frames"
    source, source_samples = head.source_rate, head.metadata.get("source_samples")
    lines = {
        "codes": name,
        "shape": f"[1, {count}, {reader.frames}]: {counted(count, 'codebook')}, "
        f"{counted(reader.frames, 'frame')}",
        "values": "" if own else values,
        "seconds": seconds,
        "bitrate": f"{kbps:.4g} kbps, at {bits} bits a code and {rate:g} frames a second",
        "size": f"{size} bytes",
        "source": f"{source} Hz" if source and own else "",
    }
    if not own and source and source_samples:
        lines["source"] = f"{source_samples} samples at {source} Hz"
    if head.fingerprint:
        model = head.metadata.get("model", "a model")
        lines["made by"] = f"{model}, fingerprint {head.fingerprint}"
    if own and head.metadata:
        lines["metadata"] = json.dumps(dict(head.metadata))
    lines["damage"] = reader.damage or ""
    facts = {
        **{"kind": "codes", "name": name, "bytes": size, "kbps": kbps, "frame_rate": rate},
        **{"codebooks": count, "frames": reader.frames, "bits_per_code": bits},
        **{"samples": reader.samples, "sample_rate": head.sample_rate, "source_rate": source},
        **{"fingerprint": head.fingerprint, "metadata": dict(head.metadata)},
        "damage": reader.damage,
    }
    return Description({name: value for name, value in lines.items() if value}, facts)


def _sound(file: Path | IO[bytes], size: int, name: str) -> Description:
    with FileReader(file, mono=True, name=name, keep=True) as source:
        for _ in source:  # is all of it there?
            pass
    seconds = source.given / source.sample_rate
    damage, kbps = {"damage": source.damage} if source.damage else {}, size * 8 / seconds / 1000
    lines = {
        "sound": source.name,
        "format": source.about,
        "shape": f"{counted(source.given, 'sample')}, channels: {source.channels}",
        "sampling rate": f"{source.sample_rate} Hz",
        "seconds": f"{seconds:.4f}",
        "bitrate": f"{kbps:.4g} kbps",
        **damage,
    }
    facts = {
        **{"kind": "sound", "name": source.name, "bytes": size, "kbps": kbps},
        **{"format": source.about, "samples": source.given, "sample_rate": source.sample_rate},
        **{"channels": source.channels, "seconds": seconds, "damage": source.damage},
    }
    return Description(lines, facts)


def _model(name: str) -> Description:
    config, files = hub.find(name)
    codec = load(files, config)
    count, rate = config.num_quantizers, config.frame_rate
    size = sum(file.stat().st_size for file in files)
    with_8 = f"{config.kbps(8):.4g} kbps with 8, " if count > 8 else ""
    lines = {
        "model": name,
        "files": ", ".join(str(file) for file in files),
        "size": f"{size / 1e6:.1f} MB",
        **_tensors(files),
        "audio": f"{config.sampling_rate} Hz, one channel",
        "frames": f"{rate:g} a second, {config.frame_size} samples each",
        "codebooks": f"{count}, {config.num_semantic_quantizers} of them semantic, of "
        f"{config.codebook_size} entries of {config.codebook_dim}",
        "bitrate": f"{config.kbps(1):.4g} kbps a codebook: {with_8}"
        f"{config.kbps(count):.4g} kbps with all {count}",
        "fingerprint": codec.fingerprint,
        "device": device.name(),
        "BLAS": linux.blas_in_use(),
        "versions": f"mimi_mlx {version('mimi_mlx')}, mlx {version('mlx')}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}",
    }
    facts = {
        **{"kind": "model", "name": name, "bytes": size, "files": [str(file) for file in files]},
        **{"layout": lines["layout"], "trained": lines.get("trained")},
        "fingerprint": codec.fingerprint,
        **{"sample_rate": config.sampling_rate, "frame_rate": rate},
        **{"frame_size": config.frame_size, "codebooks": count},
        **{"semantic_codebooks": config.num_semantic_quantizers},
        **{"codebook_size": config.codebook_size, "codebook_dim": config.codebook_dim},
        **{"device": lines["device"], "blas": lines["BLAS"], "versions": lines["versions"]},
    }
    return Description(lines, facts)


def _tensors(files: list[Path]) -> dict[str, str]:
    """Layout and size, from the tensors' names and shapes."""
    shapes: dict[str, list[int]] = {}
    about: dict[str, str] = {}
    for path in files:
        with open_safetensors(path, "Download it again.") as file:
            about |= file.metadata() or {}
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if mlx_format.KEY in about:
        said = mlx_format.about(about[mlx_format.KEY], str(files[0]))
        alone = f", the {said.only} alone" if said.only else ""
        lines = {"layout": f"converted: {said.recipe}{alone}", "tensors": str(len(shapes))}
        if trained := mlx_format.trained(files[0]):
            base, step, sound, books = (trained.get(x) for x in _TRAINED)
            lines["trained"] = f"from {base}: step {step} on {sound}, for {books} codebooks"
        return lines
    layout, within = layouts.layout_of(shapes)
    shapes = {name: s for name, s in shapes.items() if name.startswith(within)}
    count = sum(math.prod(s) for name, s in shapes.items() if not name.endswith(_COUNTERS))
    return {
        "layout": f"{layout}, under {within}*" if within else layout,
        "parameters": f"{count:,} in {len(shapes)} tensors",
    }
