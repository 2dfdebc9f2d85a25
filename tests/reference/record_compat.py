"""Record what transformers' own MimiModel and feature extractor give for the calls they document.

    python tests/reference/record_compat.py

The embedded checkpoint, to compat_transformers.npz. It needs torch 2.13, transformers 5.23 and
soundfile.
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from recording import Clip, Recording, save
from transformers import EncodecFeatureExtractor, MimiModel

TINY = Path(__file__).parents[2] / "mimi_mlx" / "tiny"
COMMAND = "python tests/reference/record_compat.py"

# A sentence for the page's example; two ragged clips of unequal length for a batch.
CLIPS = {
    "sentence": Clip("kathleen-1"),
    "longer": Clip("kathleen-6", 9000, 11519),
    "shorter": Clip("kerstin-2", 14000, 6001),
}
# Every how manyth sample is kept of the sentence's audio and of what the extractor gave.
STRIDE = 8
# Frames in each piece of a stream.
PIECES = (3, 1, 6, 10)

EXTRACTIONS = {
    "one": {},
    "pad to max_length": {"padding": "max_length", "max_length": 12000},
    "truncate below both": {"truncation": True, "max_length": 4000},
    "truncate between": {"truncation": True, "max_length": 7000},
    "max_length without effect": {"padding": True, "max_length": 3000},
}


def example(model: MimiModel) -> dict[str, np.ndarray]:
    """The documentation page's example, and its stream of whole frames."""
    extract = EncodecFeatureExtractor()
    inputs = extract(CLIPS["sentence"].read()[0, 0], sampling_rate=24000, return_tensors="pt")
    codes = model.encode(inputs["input_values"], inputs["padding_mask"]).audio_codes
    audio = model.decode(codes, inputs["padding_mask"])[0]
    forward = model(inputs["input_values"], inputs["padding_mask"]).audio_values
    assert torch.equal(audio, forward)

    caches, pieces, at = {}, [], 0
    for frames in PIECES:
        end = at + frames * model.config.frame_size
        piece = inputs["input_values"][..., at:end]
        out = model.encode(piece, use_streaming=True, num_quantizers=8, **caches)
        caches = {k: out[k] for k in ("encoder_past_key_values", "padding_cache")}
        pieces.append(out.audio_codes)
        at = end
    return {
        "example codes": codes,
        "example audio": audio[..., ::STRIDE],
        "stream codes": torch.cat(pieces, dim=-1),
    }


def batch(model: MimiModel) -> dict[str, np.ndarray]:
    """A padded batch, forwards with and without mask and codes, and what masks and lengths give."""
    extract = EncodecFeatureExtractor()
    clips = [CLIPS[name].read()[0, 0] for name in ("longer", "shorter")]
    inputs = extract(clips, sampling_rate=24000, return_tensors="pt")
    values, mask = inputs["input_values"], inputs["padding_mask"]
    out = model(values, mask, num_quantizers=8)
    lengths = torch.tensor([0, 1, 1919, 1920, 1921, 40134])
    return {
        "batch codes": out.audio_codes,
        "batch audio": out.audio_values,
        "batch audio of 2 codebooks": model(values, audio_codes=out.audio_codes[:, :2])[1],
        "batch audio cut at 5000": model.decode(out.audio_codes, mask[:, :5000])[0],
        "frames right": model.get_audio_codes_mask(mask),
        "frames left": model.get_audio_codes_mask(mask.flip(-1), padding_side="left"),
        "lengths": lengths,
        "encoded lengths": model.get_encoded_length(lengths),
    }


def extractions() -> dict[str, np.ndarray]:
    """The feature extractor's two arrays for each way to pad and to cut."""
    clips = [CLIPS[name].read()[0, 0] for name in ("longer", "shorter")]
    made = {}
    for side in ("right", "left"):
        extract = EncodecFeatureExtractor(padding_side=side)
        for name, how in EXTRACTIONS.items():
            out = extract(clips, sampling_rate=24000, return_tensors="np", **how)
            made[f"{side}/{name}/input_values"] = out["input_values"][..., ::STRIDE]
            made[f"{side}/{name}/padding_mask"] = out["padding_mask"]
    return made


def main() -> None:
    model = MimiModel.from_pretrained(TINY).eval()
    with torch.no_grad():
        arrays = {**example(model), **batch(model), **extractions()}
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    arrays = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in arrays.items()}
    about = {
        "command": COMMAND,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "checkpoint": "mimi_mlx/tiny",
        "stride": STRIDE,
        "pieces": PIECES,
        "extractions": EXTRACTIONS,
    }
    print(save("compat_transformers", Recording(about, CLIPS, arrays)))


if __name__ == "__main__":
    main()
