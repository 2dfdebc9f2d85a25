"""The embedded checkpoint, a clip of speech, and what PyTorch makes of it: PROVENANCE.md."""

from pathlib import Path

FOLDER = Path(__file__).parent
SPEECH = FOLDER / "speech.flac"
RECORDED = FOLDER / "recorded.npz"
EARLIER = frozenset({"64f4dcbbc16f7626"})  # fingerprints of those that earlier versions embedded
