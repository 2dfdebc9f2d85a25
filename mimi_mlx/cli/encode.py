"""``mimi-mlx encode``: a sound file or pipe to codes; a folder of them to a folder."""

import argparse
from pathlib import Path

from ..mimi import Mimi
from ..streaming import validation as check
from . import code_io as codes_ends
from . import folder as bulk
from . import progress as work
from . import sound_io as sound_ends


def run(args: argparse.Namespace) -> int:
    """Encode what ``args.input`` is; the result is the exit code."""
    if Path(args.input).is_dir():
        return bulk.run(args)
    for name in ("recursive", "batch_size", "jobs"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for a folder, and {args.input} is none. "
                "Leave it out."
            )
    codes_ends.check_codes_output(args.output, args.force)
    sound_ends.check_raw(args.raw, args.input)
    sound_ends.check_sample_rate(args)
    with sound_ends.reading(args) as source:
        mimi = Mimi.from_pretrained(args.model, only="encoder")
        count = check.num_codebooks(args.num_codebooks, mimi.config)
        at_once = work.frames_at_once(args)
        with (
            work.Progress("encode", work.seconds(source)) as progress,
            codes_ends.writing(args, mimi, count, source.sample_rate) as sink,
        ):
            frames = work.encode(mimi, source, count, at_once, sink, progress.advance)
    work.summarise(mimi, args.output, (count, frames), progress.done, progress.speed)
    return 0
