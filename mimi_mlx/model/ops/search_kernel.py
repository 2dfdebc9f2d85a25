"""The search of residual codebooks as kernels of our own, in the shading language of Metal.

A level's kernel first finishes the level before: of the candidates that its threadgroups left it
takes the best, and what is left of the latent is that less this entry. Then each threadgroup scores
its share of this level's entries, and leaves one candidate. The semantic half and the first level
of the acoustic half need nothing of each other: they are one dispatch. A last kernel finishes the
last level. K codebooks are K kernels, or 2 for one.

Every score is a sum of the same terms in the same order, however many rows there are. Whatever is
read lies inside its array, even if numbers are not finite. The grid is of whole threadgroups.
"""

import zlib
from typing import Any

import mlx.core as mx

from .device import has_cuda

ENTRIES = 64
"""Of a threadgroup: 2048 entries are 32 threadgroups, so that all of a GPU reads."""

_PARTS = 8  # of a latent, each summed in a thread of its own
_THREADS = ENTRIES * _PARTS

_PLACE = """
    const int index = thread_position_in_threadgroup.x;
    const int lane = thread_index_in_simdgroup;  // of 32
    const int group = threadgroup_position_in_grid.x;
    const int row = threadgroup_position_in_grid.y;
"""

# The best of 32 lanes, the lowest entry of equals: a tree, at whose end every lane knows it.
_BEST_OF_LANES = """
        for (int step = 16; step > 0; step /= 2) {
            const float other = simd_shuffle_xor(best, step);
            const int its = simd_shuffle_xor(code, step);
            if (other > best || (other == best && its < code)) {
                best = other;
                code = its;
            }
        }
"""

# Finish the level before. Each SIMD group does it alone, which is sooner than to wait for another.
# Lanes past the last candidate look at that again.
_CHOOSE = f"""
    const int chains = scores_shape[1];
    const int groups = scores_shape[2];
    const int known = level - chains;
    int code = 0;
    for (int chain = 0; chain < chains; chain++) {{
        const int first = (row * chains + chain) * groups;
        float best = scores[first + min(lane, groups - 1)];
        code = entries[first + min(lane, groups - 1)];
        for (int i = lane + 32; i < groups; i += 32) {{
            if (scores[first + i] > best) {{
                best = scores[first + i];
                code = entries[first + i];
            }}
        }}
        {_BEST_OF_LANES}
        if (group == 0 && index == 0) {{
            codes[row * level + known + chain] = code;
        }}
    }}
    if (group == 0) {{
        for (int i = index; i < known; i += THREADS) {{
            codes[row * level + i] = before[row * known + i];
        }}
    }}
"""

_LOAD = """
    const int level = threadgroup_position_in_grid.z;
    threadgroup float residual[WIDTH];
    for (int i = index; i < WIDTH; i += THREADS) {
        residual[i] = x[(row * x_shape[1] + level) * WIDTH + i];
    }
"""

# Of two chains the acoustic one is the last.
_SUBTRACT = """
    threadgroup float residual[WIDTH];
    for (int i = index; i < WIDTH; i += THREADS) {
        const float left = x[(row * x_shape[1] + x_shape[1] - 1) * WIDTH + i]
            - columns[(size_t(level - 1) * WIDTH + i) * SIZE + code];
        residual[i] = left;
        if (group == 0) {
            rest[row * WIDTH + i] = left;
        }
    }
"""

# Neighbouring threads read neighbouring entries. Those past the last score that again. Where each
# part of the latent is as long, a compiler knows it and has a thread read many at once.
_SCORE = f"""
    threadgroup float sums[THREADS];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    {{
        const int entry = min(group * ENTRIES + index % ENTRIES, SIZE - 1);
        const int depth = (WIDTH + PARTS - 1) / PARTS;
        const int start = index / ENTRIES * depth;
        float sum = 0;
        for (int i = start; i < start + depth; i++) {{
            if (WIDTH % PARTS != 0 && i >= WIDTH) {{
                break;
            }}
            sum = fma(residual[i], columns[(size_t(level) * WIDTH + i) * SIZE + entry], sum);
        }}
        sums[index] = sum;
    }}
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup_index_in_threadgroup == 0) {{
        float best = 0;
        int code = 0;
        for (int i = lane; i < ENTRIES; i += 32) {{
            const int entry = min(group * ENTRIES + i, SIZE - 1);
            float score = 0;
            for (int part = 0; part < PARTS; part++) {{
                score += sums[part * ENTRIES + i];
            }}
            score += biases[size_t(level) * SIZE + entry];
            if (i == lane || score > best) {{
                best = score;
                code = entry;
            }}
        }}
        {_BEST_OF_LANES}
        if (lane == 0) {{
            const int chain = threadgroup_position_in_grid.z;
            const int at = (row * threadgroups_per_grid.z + chain) * threadgroups_per_grid.x;
            best_scores[at + group] = best;
            best_entries[at + group] = code;
        }}
    }}
"""

# How many biases there are says which level it is: an argument of its own would be one more array,
# or one more kernel to compile for each level.
_NEXT = "const int level = biases_shape[0] - 1;"
_END = "const int level = biases_shape[0];"

CUDA = """
#define threadgroup __shared__
#define threadgroup_barrier(flags) __syncthreads()
#define simd_shuffle_xor(value, mask) __shfl_xor_sync(0xffffffff, value, mask)
#define thread_position_in_threadgroup threadIdx
#define threadgroup_position_in_grid blockIdx
#define threadgroups_per_grid gridDim
#define thread_index_in_simdgroup (threadIdx.x % 32)
#define simdgroup_index_in_threadgroup (threadIdx.x / 32)
"""
"""What the bodies' words are in CUDA."""

SOURCES = {
    "first": _PLACE + _LOAD + _SCORE,
    "level": _PLACE + _NEXT + _CHOOSE + _SUBTRACT + _SCORE,
    "last": _PLACE + _END + _CHOOSE,
}
INPUTS = {
    "first": ["x", "columns", "biases"],
    "level": ["x", "columns", "biases", "scores", "entries", "before"],
    "last": ["biases", "scores", "entries", "before"],
}
OUTPUTS = {
    "first": ["best_scores", "best_entries"],
    "level": ["codes", "rest", "best_scores", "best_entries"],
    "last": ["codes"],
}


def _built(kind: str) -> Any:
    """A kernel; MLX compiles it when it first runs, and may keep what it compiled by its name."""
    source = SOURCES[kind]
    build, header = (mx.fast.cuda_kernel, CUDA) if has_cuda() else (mx.fast.metal_kernel, "")
    name = f"mimi_mlx_search_{kind}_{zlib.crc32((header + source).encode()):08x}"
    return build(name, INPUTS[kind], OUTPUTS[kind], source, header)


KERNELS = {kind: _built(kind) for kind in SOURCES}
_DTYPES = {"codes": mx.int32, "best_entries": mx.int32}  # others are float32


def search(x: mx.array, columns: mx.array, biases: mx.array) -> mx.array:
    """The codes ``[rows, K]``, int32, of latents: one semantic codebook, then acoustic ones.

    Args:
        x: ``[rows, 2, D]``, float32: what the semantic half searches for, and the acoustic half.
        columns: ``[>= K, D, N]``, contiguous.
        biases: ``[K, N]``.
    """
    (rows, _, width), (count, size) = x.shape, biases.shape
    groups, chains = -(-size // ENTRIES), min(2, count)
    template = {"WIDTH": width, "SIZE": size, "ENTRIES": ENTRIES, "PARTS": _PARTS}

    def run(kind: str, inputs: list[mx.array], level: int, grid: tuple[int, int]) -> list[mx.array]:
        candidates = (rows, grid[1], grid[0])
        shapes = {"codes": (rows, level), "rest": (rows, 1, width)}
        return KERNELS[kind](
            inputs=inputs,
            template=[*template.items(), ("THREADS", _THREADS)],
            grid=(grid[0] * _THREADS, rows, grid[1]),
            threadgroup=(_THREADS, 1, 1),
            output_shapes=[shapes.get(name, candidates) for name in OUTPUTS[kind]],
            output_dtypes=[_DTYPES.get(name, mx.float32) for name in OUTPUTS[kind]],
        )

    scores, entries = run("first", [x, columns, biases], 0, (groups, chains))
    codes = entries  # there are none yet, and nothing is read of it
    for level in range(chains, count):
        inputs = [x, columns, biases[: level + 1], scores, entries, codes]
        codes, x, scores, entries = run("level", inputs, level, (groups, 1))
    return run("last", [biases, scores, entries, codes], count, (1, 1))[0]
