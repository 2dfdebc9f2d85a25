"""Fail when a step at full size needs more kernels than its budget.

python tests/benchmarks/kernels.py
"""

import sys

from mimi_mlx import MimiConfig
from mimi_mlx.evaluation.kernel_count import count
from mimi_mlx.model.codec import Codec

# Half of the codec, codebooks, most kernels, and most with hidden copies.
BUDGET = [
    ("encoder", 32, 174, 201),
    ("encoder", 8, 150, 177),
    ("decoder", 32, 148, 176),
    ("decoder", 8, 148, 176),
]


def main() -> int:
    codec = Codec(MimiConfig())
    over = 0
    for half, codebooks, budget, with_copies in BUDGET:
        kernels = count(codec, half, codebooks)
        found = kernels.total, kernels.total + kernels.copies
        is_over = found[0] > budget or found[1] > with_copies
        over += is_over
        print(
            f"{half}, {codebooks:2} codebooks: {found[0]} kernels, with hidden copies {found[1]}; "
            f"budget {budget}, {with_copies}: {'OVER' if is_over else 'ok'}"
        )
        print("   ", ", ".join(f"{kind} {n}" for kind, n in kernels.kinds.items()))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
