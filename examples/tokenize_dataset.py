"""A Hugging Face data set with a column of sound to one with a column of codes, and back to sound.

    python examples/tokenize_dataset.py DATASET codes.parquet [--model M] [--push OWNER/NAME]
    python examples/tokenize_dataset.py codes.parquet SOUND_FOLDER --back [--model M]

DATASET is a folder of sound files or a name on the Hub. It needs ``pip install datasets``.
"""

import argparse
import functools
import io
from pathlib import Path

import numpy as np
import soundfile
from datasets import Audio, Dataset, Features, Sequence, Value, load_dataset

from mimi_mlx import Mimi, audio

SOUND = {"audio": {"bytes": Value("binary"), "path": Value("string")}}  # as datasets keeps it
CODES = {"codes": Sequence(Sequence(Value("uint16"))), "samples": Value("int64")}
load = functools.cache(lambda model: Mimi.from_pretrained(model))


def encode(rows: dict, model: str, num_codebooks: int) -> dict:
    """A ragged batch: each row gets the codes that it would get alone."""
    mimi, clips = load(model), []
    for sound in rows["audio"]:
        file = io.BytesIO(sound["bytes"]) if sound["bytes"] else sound["path"]
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        clips.append(audio.resample(samples.mean(axis=1), rate, mimi.sample_rate))
    lengths = [len(clip) for clip in clips]
    pcm = np.stack([np.pad(clip, (0, max(lengths) - len(clip))) for clip in clips])
    codes = np.array(mimi.encode(pcm[:, None], num_codebooks, lengths)).astype(np.uint16)
    cut = [row[:, : -(-n // mimi.frame_size)] for row, n in zip(codes, lengths, strict=True)]
    return {"codes": cut, "samples": lengths, "fingerprint": [mimi.fingerprint] * len(clips)}


def tokenize(sounds: Dataset, model: str, num_codebooks: int = 8, batch_size: int = 8) -> Dataset:
    """The data set with codes [K, F], samples and fingerprint in place of its audio."""
    features = Features(sounds.features | CODES | {"fingerprint": Value("string")})
    del features["audio"]
    sounds = sounds.cast_column("audio", Audio(decode=False))
    how = {"batched": True, "batch_size": batch_size, "remove_columns": ["audio"]}
    about = {"model": model, "num_codebooks": num_codebooks}
    return sounds.map(encode, **how, features=features, fn_kwargs=about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs=2, metavar="NAME", help="from what, and to what")
    parser.add_argument("--back", action="store_true", help="codes to sound")
    parser.add_argument("--model", default="kyutai/mimi")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the codes to the Hub")
    args = parser.parse_args()
    source, target = args.names
    if not args.back:
        if Path(source).is_dir():
            files = sorted(p for p in Path(source).rglob("*") if p.suffix in audio.FORMATS)
            sounds = [{"bytes": None, "path": str(path)} for path in files]
            sounds = Dataset.from_dict({"audio": sounds}, Features(SOUND))
        else:
            sounds = load_dataset(source, split="train")
        codes = tokenize(sounds, args.model)
        codes.to_parquet(target)
        if args.push:
            codes.push_to_hub(args.push)
        return
    mimi = load(args.model)
    Path(target).mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(Dataset.from_parquet(source)):
        if row["fingerprint"] != mimi.fingerprint:
            raise SystemExit(f"Another model made row {i}. Give it as --model.")
        pcm = mimi.decode(np.array(row["codes"], np.int32), length=row["samples"])
        audio.write(Path(target) / f"{i}.wav", pcm, mimi.sample_rate)


if __name__ == "__main__":
    main()
