"""Where things are."""

from pathlib import Path

import mimi_mlx.tiny

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SPEECH = ROOT / "tests" / "speech"
TINY = mimi_mlx.tiny.FOLDER
