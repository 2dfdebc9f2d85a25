"""The contract of everything that has a step: seven properties, one check for each.

A module keeps it if ``init_state(batch_size)`` and ``step(x, state) -> (y, state)`` do all of
this. Time is the second axis of ``x`` and of ``y``, unless ``axis`` says otherwise.
"""

from typing import Any, NamedTuple, Protocol

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

# Matrix products of another size add in another order: relative to the output's RMS.
TOLERANCE = 2e-5


class Steps(Protocol):
    """Anything with a memory that is a value."""

    def init_state(self, batch_size: int) -> Any: ...

    def step(self, x: mx.array, state: Any) -> tuple[mx.array, Any]: ...


class Functions(NamedTuple):
    """A module that is two functions."""

    step: Any
    init_state: Any


class Case(NamedTuple):
    """A module under test, and an input ``[B, T, ...]`` of three rows that leads past its memory.

    ``unit`` elements of time are the least that a step other than the last takes.
    """

    module: Steps
    x: mx.array
    unit: int = 1
    axis: int = 1

    def cut(self, *sizes: int) -> list[mx.array]:
        """The input in pieces of so many units, the last piece with all that is left."""
        ends = np.cumsum(sizes) * self.unit
        return [p for p in mx.split(self.x, ends.tolist(), self.axis) if p.size]

    def units(self) -> int:
        return -(-self.x.shape[self.axis] // self.unit)

    def run(self, pieces: list[mx.array], state: Any = None) -> tuple[list[np.ndarray], Any]:
        """Step through the pieces: each one's output, and the last state."""
        state = self.module.init_state(pieces[0].shape[0]) if state is None else state
        outputs = []
        for piece in pieces:
            y, state = self.module.step(piece, state)
            mx.eval(y, state)
            outputs.append(np.array(y))
        return outputs, state

    def whole(self, x: mx.array | None = None) -> np.ndarray:
        """The output of one step from a fresh state."""
        return self.run([self.x if x is None else x])[0][0]


def check_streaming(
    module: Steps, x: mx.array, unit: int = 1, axis: int = 1, seed: int = 0
) -> None:
    """Assert all seven properties for an input of three rows or more."""
    case = Case(module, x, unit, axis)
    rng = np.random.default_rng(seed)
    any_cutting_equals_offline(case, rng)
    state_keeps_its_form(case)
    compiled_equals_eager_with_one_trace(case)
    rows_are_independent(case, rng)
    the_future_leaves_the_past_equal(case, rng)
    interleaved_streams_equal_each_alone(case, rng)
    a_step_does_not_alter_the_state_it_was_given(case)


def any_cutting_equals_offline(case: Case, rng: np.random.Generator) -> None:
    """Property 1, in steps of one unit, of several, and of all sizes."""
    whole = case.whole()
    several = max(2, case.units() // 7)
    ways = [[1] * (case.units() - 1), [several] * ((case.units() - 1) // several)]
    ways += [_random_sizes(case.units(), rng) for _ in range(4)]
    for sizes in ways:
        pieces, _ = case.run(case.cut(*sizes))
        assert_close(np.concatenate(pieces, case.axis), whole, f"cut into {sizes}")


def state_keeps_its_form(case: Case) -> None:
    """Property 2: structure, shapes and dtypes of the state, whatever the step."""
    state = case.module.init_state(case.x.shape[0])
    form = _form(state)
    for piece in case.cut(1, 2, 1, 5, 1):
        _, state = case.run([piece], state)
        assert _form(state) == form, f"after a step of {piece.shape}"


def compiled_equals_eager_with_one_trace(case: Case) -> None:
    """Property 3, in steps of one unit."""
    traces = 0

    def step(x: mx.array, state: Any) -> tuple[mx.array, Any]:
        nonlocal traces
        traces += 1
        return case.module.step(x, state)

    pieces = case.cut(*[1] * (case.units() - 1))
    pieces = [p for p in pieces if p.shape[case.axis] == case.unit]
    eager, _ = case.run(pieces)
    functions = Functions(mx.compile(step), case.module.init_state)
    compiled, _ = case._replace(module=functions).run(pieces)
    assert traces == 1, f"{traces} traces in {len(pieces)} steps"
    assert_close(np.stack(compiled), np.stack(eager), "compiled")


def rows_are_independent(case: Case, rng: np.random.Generator) -> None:
    """Property 4: a row alone is as in its batch, and does not notice its neighbours."""
    pieces = case.cut(*_random_sizes(case.units(), rng))
    batch = np.concatenate(case.run(pieces)[0], case.axis)
    alone = np.concatenate(case.run([p[1:2] for p in pieces])[0], case.axis)
    assert_close(batch[1:2], alone, "a row alone")
    others = [mx.concatenate([_other(p[:1], rng), p[1:2], _other(p[2:], rng)]) for p in pieces]
    beside = np.concatenate(case.run(others)[0], case.axis)
    np.testing.assert_array_equal(beside[1], batch[1], "a row beside other neighbours")
    assert not np.array_equal(beside[0], batch[0]), "the neighbours' output did not change"


def the_future_leaves_the_past_equal(case: Case, rng: np.random.Generator) -> None:
    """Property 5, within one step: what comes later changes what is later, and nothing else."""
    half = case.units() // 2
    past, future = case.cut(half)[0], mx.concatenate(case.cut(half)[1:], case.axis)
    whole = case.whole()
    changed = case.whole(mx.concatenate([past, _other(future, rng)], case.axis))
    end = case.run([past])[0][0].shape[case.axis]
    before, after = np.split(changed, [end], case.axis)
    expected, later = np.split(whole, [end], case.axis)
    np.testing.assert_array_equal(before, expected)
    assert not np.array_equal(after, later), "the future's own output did not change"


def interleaved_streams_equal_each_alone(case: Case, rng: np.random.Generator) -> None:
    """Property 6."""
    pieces = case.cut(*_random_sizes(case.units(), rng))
    others = [_other(p, rng) for p in pieces]
    alone, other_alone = case.run(pieces)[0], case.run(others)[0]
    state = other = None
    for i, (piece, theirs) in enumerate(zip(pieces, others, strict=True)):
        (y,), state = case.run([piece], state)
        (their_y,), other = case.run([theirs], other)
        np.testing.assert_array_equal(y, alone[i])
        np.testing.assert_array_equal(their_y, other_alone[i])


def a_step_does_not_alter_the_state_it_was_given(case: Case) -> None:
    """Property 7: a state is a value, from which one can go on any number of times."""
    first, second = case.cut(2, 3)[:2]
    _, state = case.run([first])
    before = _values(state)
    (once,), _ = case.run([second], state)
    for (name, leaf), expected in zip(tree_flatten(state), before, strict=True):
        np.testing.assert_array_equal(np.array(leaf), expected, name)
    (again,), _ = case.run([second], state)
    np.testing.assert_array_equal(again, once)


def assert_close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Whole numbers equal; others within :data:`TOLERANCE` of the expected ones' RMS."""
    assert found.shape == expected.shape, f"{what}: {found.shape} instead of {expected.shape}"
    if expected.dtype.kind in "iu":
        np.testing.assert_array_equal(found, expected, what)
        return
    difference = np.abs(found.astype(np.float64) - expected).max()
    rms = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
    assert difference <= TOLERANCE * rms, f"{what}: {difference / rms:.1e} of the RMS"


def _random_sizes(units: int, rng: np.random.Generator) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < units:
        sizes.append(int(rng.integers(1, max(2, units // 3) + 1)))
    return sizes[:-1]


def _other(x: mx.array, rng: np.random.Generator) -> mx.array:
    """Another input of the same form: noise, or other codes of the same codebooks."""
    if x.dtype == mx.int32:
        return mx.array(rng.integers(0, x.max().item() + 1, x.shape).astype(np.int32))
    return mx.array(rng.standard_normal(x.shape).astype(np.float32)) * x.square().mean().sqrt()


def _form(state: Any) -> list[tuple]:
    """Each node of a state in order: its type, and a leaf's shape and dtype."""
    if isinstance(state, mx.array):
        return [(mx.array, state.shape, state.dtype)]
    assert isinstance(state, (tuple, list)), f"a {type(state).__name__} in a state"
    inner = [node for part in state for node in _form(part)]
    return [(type(state), len(state)), *inner]


def _values(state: Any) -> list[np.ndarray]:
    return [np.array(leaf) for _, leaf in tree_flatten(state)]
