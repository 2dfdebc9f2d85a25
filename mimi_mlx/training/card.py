"""The README.md of a trained model: what it comes from, and how good it is."""

from typing import Any

from .. import extras
from ..checkpoint import model_card
from ..text import counted

FIGURES = {
    "loss": "loss that is trained",
    "log_mel_db": "log-mel distance, dB",
    "stft": "STFT distance",
    "si_sdr_db": "SI-SDR, dB",
    "pesq": "PESQ (wide band)",
    "stoi": "STOI",
}
"""What the figures of held-out clips are called."""

_CARD = """\
---
{front}
---

# {title}

Mimi, the streaming neural audio codec of Kyutai, with a decoder trained by mimi_mlx {version}. \
Encoder and codebooks are those of `{base}`{commit}: codes of either mean the same, and files of \
either decode with both. Fingerprint {fingerprint}.

- Trained on {sound}, for {codebooks} codebooks: {step} steps of {batch_size} segments of \
{seconds:g} s{adversarial}.
- Licence: {licence} A voice belongs to whoever speaks: share this only if they agree.

Of {heard} that it was not trained on, coded with {codebooks} codebooks:

| | base | trained |
|---|---|---|
{table}

{use}
`training/` beside this file holds the recordings and the run's state. Leave it out of what you \
share: `hf upload OWNER/NAME {name} . --exclude "training/*"`
"""


def text(config: dict[str, Any], name: str) -> str:
    """The card of a folder with this config.json; ``name`` is how it is loaded."""
    from huggingface_hub import ModelCardData

    about, said = config["mimi_mlx"], config["mimi_mlx"]["finetuned"]
    is_kyutais = said["base"].startswith("kyutai/")
    front = ModelCardData(
        base_model=said["base"] if is_kyutais else None,
        library_name="mlx",
        license="cc-by-4.0" if is_kyutais else None,
        pipeline_tag="audio-to-audio",
        tags=["mlx", "mimi", "audio", "codec"],
    )
    before, after = said["figures_of_base"], said["figures"]
    both = [key for key in FIGURES if key in before and key in after]
    rows = [f"| {FIGURES[key]} | {before[key]:.4g} | {after[key]:.4g} |" for key in both]
    source = "of Kyutai's weights CC-BY 4.0" if is_kyutais else "that of the base"
    facts = {
        **about,
        **said,
        "commit": f" at {said['revision']}" if said["revision"] else "",
        "adversarial": ", with a discriminator" if said["adversarial"] else "",
        "heard": counted(said["clips"], "clip"),
        "licence": f"{source}, and what the sound's owner allows.",
    }
    return _CARD.format(
        **facts,
        front=front,
        title=name.rpartition("/")[2],
        table="\n".join(rows),
        name=name,
        use=model_card.USE.format(
            install=extras.install(),
            name=name,
            snippet=f"codes = mimi.encode(pcm, {said['codebooks']})\npcm = mimi.decode(codes)",
        ),
    )
