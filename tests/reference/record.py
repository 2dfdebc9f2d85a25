"""Make the recordings: what PyTorch's Mimi gives, stage by stage.

    python tests/reference/record.py tiny      the embedded checkpoint on all the speech
    python tests/reference/record.py full      kyutai/mimi's sizes with seeded weights
    python tests/reference/record.py scales    the codebook scales in seeded.py, printed

The only file here that imports torch. It needs torch 2.13, transformers 5.23 and soundfile.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import recording
import seeded
import torch
import transformers
from recording import Clip, Recording, thin
from safetensors.numpy import save_file
from transformers import MimiModel

TINY = Path(__file__).parents[2] / "mimi_mlx" / "tiny"

# Whole sentences of unequal lengths, the longest far past the attention's window.
SENTENCES = [f"{voice}-{i}" for voice in ("kathleen", "kerstin") for i in range(1, 7)]
TINY_CLIPS = {name: Clip(name) for name in (*SENTENCES, "dialogue")}
# The right edge is where ports go wrong: lengths around strides, positions and frames, kept whole.
TINY_CLIPS |= {
    f"cut-{length}": Clip("kathleen-2", 12000, length, stride=1)
    for length in (1, 311, 1919, 1921, 4800, 5761, 11519, 23773)
}
# The clip that the package ships: mimi_mlx/tiny/speech.flac.
EMBEDDED = "kathleen-4"
# Those that are also decoded from their first codebooks alone.
FEWER = {"kathleen-1", "cut-5761"}

# Two rows of 12 s, ragged, past the window of 250 positions (10 s).
ROW = 288777
FULL_CLIPS = {"dialogue": Clip("dialogue", 0, 2 * ROW, stride=29)}


def tapped(model: MimiModel) -> dict[str, np.ndarray]:
    """A dictionary that each pass through ``model`` fills with its stages, ``[B, time, C]``."""
    stages = {}

    def tap(stage: str, module: torch.nn.Module, time_last: bool) -> None:
        def keep(_module, _inputs, output) -> None:
            x = output[0] if isinstance(output, tuple) else output
            x = x if isinstance(x, torch.Tensor) else x.last_hidden_state
            stages[stage] = (x.transpose(1, 2) if time_last else x).numpy().copy()

        module.register_forward_hook(keep)

    tap("seanet encoder", model.encoder.encoder_seanet, True)
    tap("encoder transformer", model.encoder.encoder_transformer, False)
    tap("downsample", model.encoder.downsample, True)
    tap("upsample", model.decoder.upsample, True)
    tap("decoder transformer", model.decoder.decoder_transformer, False)
    tap("waveform", model.decoder.decoder_seanet, True)
    return stages


def record(model: MimiModel, clips: dict[str, Clip], rows: int = 1) -> dict[str, np.ndarray]:
    """The arrays of a recording; each clip is cut into ``rows`` of equal length."""
    stages, arrays = tapped(model), {}
    for name, clip in clips.items():
        pcm = torch.from_numpy(clip.read().reshape(rows, 1, -1))
        codes = model.encode(pcm).audio_codes
        for count in (1, 2, 8):
            assert torch.equal(model.encode(pcm, num_quantizers=count)[0], codes[:, :count])
        model.decode(codes)
        stages["dequantised"] = model.quantizer.decode(codes).transpose(1, 2).numpy()
        arrays[f"{name}/codes"] = codes.numpy().astype(np.uint16)
        for stage in recording.STAGES:
            arrays[f"{name}/{stage}"] = thin(stages[stage], clip.stride)
        if name in FEWER:
            for count in (1, 2, 8):
                model.decode(codes[:, :count])
                kept = thin(stages["waveform"], clip.stride)
                arrays[f"{name}/waveform of {count}"] = kept
        print(name, pcm.shape, codes.shape)
    return arrays


def about(what: str, **more) -> dict:
    """What tells how a recording was made."""
    versions = {m.__name__: m.__version__ for m in (np, torch, transformers)}
    versions["python"] = platform.python_version()
    versions["machine"] = platform.machine()
    return {"command": f"python tests/reference/record.py {what}", "versions": versions, **more}


def load(folder: Path) -> MimiModel:
    """A model with every one of its weights from ``folder`` and none left over."""
    model, info = MimiModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def full_model(scales: list[float]) -> tuple[MimiModel, int]:
    """The model with seeded weights, and their checksum."""
    drawn = seeded.tensors(seeded.FULL, seeded.SEED, scales)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(seeded.FULL))
        save_file(drawn, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        return load(Path(folder)), seeded.checksum(drawn)


def embed(made: Recording) -> Path:
    """Keep in the package what ``mimi-mlx verify`` compares with: one clip's codes and waveform."""
    arrays = {stage: made.arrays[f"{EMBEDDED}/{stage}"] for stage in ("codes", "waveform")}
    note, stride = np.array(json.dumps(made.about)), made.clips[EMBEDDED].stride
    np.savez_compressed(TINY / "recorded.npz", about=note, stride=stride, **arrays)
    return TINY / "recorded.npz"


def find_scales() -> list[float]:
    """0.24 of the deviation of the residual that reaches each codebook, to 4 digits."""
    model, _ = full_model([1.0] * seeded.FULL["num_quantizers"])
    stages = tapped(model)
    model.encode(torch.from_numpy(FULL_CLIPS["dialogue"].read().reshape(2, 1, -1)))
    latents = torch.from_numpy(stages["downsample"]).transpose(1, 2)
    scales = []
    for half in (
        model.quantizer.semantic_residual_vector_quantizer,
        model.quantizer.acoustic_residual_vector_quantizer,
    ):
        residual = half.input_proj(latents).transpose(1, 2).flatten(0, 1)
        for layer in half.layers:
            scales.append(float(f"{0.24 * residual.std():.4g}"))
            entries = layer.codebook.embed * scales[-1]  # they were drawn with scale 1
            residual = residual - entries[torch.cdist(residual, entries).argmin(-1)]
    return scales


def main(what: str) -> None:
    torch.manual_seed(0)
    if what == "scales":
        print(find_scales())
    elif what == "tiny":
        arrays = record(load(TINY), TINY_CLIPS)
        made = Recording(about(what, weights="mimi_mlx/tiny", seed=None), TINY_CLIPS, arrays)
        print(recording.save(what, made), embed(made))
    elif what == "full":
        model, checksum = full_model(seeded.SCALES)
        arrays = record(model, FULL_CLIPS, rows=2)
        made = about(what, weights="seeded.FULL", seed=seeded.SEED, checksum=checksum)
        print(recording.save(what, Recording(made, FULL_CLIPS, arrays)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    with torch.no_grad():
        main(sys.argv[1] if len(sys.argv) == 2 else "")
