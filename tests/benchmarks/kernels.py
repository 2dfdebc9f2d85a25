"""Fail when a step at full size needs more kernels than its budget.

python tests/benchmarks/kernels.py
"""

import sys

from mimi_mlx import MimiConfig
from mimi_mlx.evaluation.kernel_count import count
from mimi_mlx.model.codec import Codec

# Half of the codec, codebooks, most kernels.
BUDGET = [("encoder", 32, 268), ("encoder", 8, 172), ("decoder", 32, 148), ("decoder", 8, 148)]


def main() -> int:
    codec = Codec(MimiConfig())
    over = 0
    for half, codebooks, budget in BUDGET:
        kernels = count(codec, half, codebooks)
        verdict = "ok" if kernels.total <= budget else "OVER"
        over += kernels.total > budget
        print(
            f"{half}, {codebooks:2} codebooks: {kernels.total} kernels, budget {budget}: {verdict} "
            f"(with hidden copies {kernels.total + kernels.copies})"
        )
        print("   ", ", ".join(f"{kind} {n}" for kind, n in kernels.kinds.items()))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
