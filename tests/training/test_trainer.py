"""A step of training: which weights change, from which state, and the same numbers again."""

import functools
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mimi_mlx.checkpoint import hub
from mimi_mlx.checkpoint.load import load
from mimi_mlx.model.codec import Codec
from mimi_mlx.training import adversary
from mimi_mlx.training import trainer as training
from mimi_mlx.training.discriminator import MultiScaleDiscriminator
from mimi_mlx.training.segments import SegmentBatch, Segments
from mimi_mlx.training.settings import Settings
from mimi_mlx.training.trainer import Trainer

SETTINGS = Settings("sound", codebooks=3, steps=20, batch_size=1, seconds=0.3)


@pytest.fixture
def codec(small) -> Codec:
    config, files = hub.find(small)
    return load(files, config)


@pytest.fixture
def segments(coded) -> Segments:
    return Segments(coded, 4, 1, 0, 1920)


def equal(a: dict[str, mx.array], b: dict[str, mx.array]) -> set[str]:
    """The names of what is the same to the last bit in both."""
    assert a.keys() == b.keys()
    return {name for name in a if mx.array_equal(a[name], b[name]).item()}


def test_the_decoder_changes_alone(codec, segments):
    before = dict(tree_flatten(codec.parameters()))
    trainer = Trainer(codec, SETTINGS)
    for step in range(2):
        trainer.step(segments.batch(step))
    same = equal(before, dict(tree_flatten(codec.parameters())))
    assert {name.partition(".")[0] for name in same} == {
        *("encoder", "encoder_transformer", "downsample", "quantizer")
    }
    changed = {name.partition(".")[0] for name in before.keys() - same}
    assert changed == set(training.TRAINED)


def test_steps_are_relative_to_the_weights(codec, segments):
    """Each step moves a weight by the learning rate at most, of its tensor's RMS."""
    trainer = Trainer(codec, SETTINGS)
    before = dict(tree_flatten(trainer.weights()))
    trainer.step(segments.batch(0))
    rate = trainer.optimiser.learning_rate.item()
    for name, after in tree_flatten(trainer.weights()):
        size = max(np.sqrt(np.square(np.array(before[name])).mean()), 1e-3)
        moved = np.abs(np.array(after - before[name])).max() / size
        assert 0.3 * rate < moved < 1.1 * rate, name


def test_a_segment_begins_in_the_state_that_its_context_left(codec, coded, segments):
    """Or in a stream's first state, whatever the context is."""
    whole = mx.array(np.random.default_rng(0).integers(0, 64, (2, 3, 8)).astype(np.int32))
    begins, target = mx.array([False, True]), mx.zeros((2, 4 * 1920))
    batch = SegmentBatch(whole[..., :4], whole[..., 4:], begins, target)
    found = np.array(Trainer(codec, SETTINGS).decode(batch))
    late, _ = codec.decode_step(whole[:1], codec.init_decoder_state(1))
    first, _ = codec.decode_step(whole[1:, :, 4:], codec.init_decoder_state(1))
    np.testing.assert_allclose(found[0], np.array(late)[0, 0, 4 * 1920 :], atol=1e-6)
    np.testing.assert_allclose(found[1], np.array(first)[0, 0], atol=1e-6)


def test_twenty_steps_are_ten_and_ten(small, segments, tmp_path):
    config, files = hub.find(small)
    whole, second = (Trainer(load(files, config), SETTINGS) for _ in range(2))
    for step in range(10):
        whole.step(segments.batch(step))
    half = whole.state()
    mx.save_safetensors(str(tmp_path / "state.safetensors"), half)
    second.restore(mx.load(str(tmp_path / "state.safetensors")))
    for step in range(10, 20):
        for trainer in (whole, second):
            trainer.step(segments.batch(step))
    assert equal(whole.state(), second.state()) == whole.state().keys()
    assert len(equal(whole.state(), half)) < len(half) / 2


def test_it_learns(codec, segments):
    trainer = Trainer(codec, Settings("sound", codebooks=3, steps=30, learning_rate=0.01))
    batch = segments.batch(0)
    found = [trainer.step(batch)["loss"] for _ in range(6)]
    assert found[-1] < 0.95 * found[0]


def test_layers_that_are_computed_twice_give_the_same(small, segments, monkeypatch):
    config, files = hub.find(small)
    once = Trainer(load(files, config), SETTINGS)
    monkeypatch.setattr(training, "memory", lambda: 1000)
    twice = Trainer(load(files, config), SETTINGS)
    for trainer in (once, twice):
        trainer.step(segments.batch(0))
    for (name, a), (_, b) in zip(
        tree_flatten(once.weights()), tree_flatten(twice.weights()), strict=True
    ):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-6, err_msg=name)


def test_a_step_is_one_graph(codec, segments, monkeypatch):
    """On a GPU it is compiled: nothing in it asks for a value, also of the discriminator."""
    few = functools.partial(MultiScaleDiscriminator, channels=2, windows=(256,))
    monkeypatch.setattr(adversary, "MultiScaleDiscriminator", few)
    monkeypatch.setattr(training, "is_gpu", lambda: True)
    trainer = Trainer(codec, replace(SETTINGS, adversarial=True))
    for step in trainer._steps.values():  # traced; to compile it for a CPU would take minutes
        assert {x.shape for x in step(segments.batch(0)).values()} == {()}


def test_too_little_memory_says_what_to_lower(codec, segments, monkeypatch):
    trainer = Trainer(codec, SETTINGS)
    for error in (MemoryError(), RuntimeError("[metal::malloc] Attempting to allocate 9 bytes")):
        monkeypatch.setitem(
            trainer._steps, False, lambda batch, error=error: (_ for _ in ()).throw(error)
        )
        with pytest.raises(ValueError, match="smaller --batch-size, then fewer --seconds"):
            trainer.step(segments.batch(0))
    monkeypatch.setitem(
        trainer._steps, False, lambda batch: (_ for _ in ()).throw(RuntimeError("x"))
    )
    with pytest.raises(RuntimeError, match="x"):
        trainer.step(segments.batch(0))


def test_a_discriminator_judges_after_its_head_start(small, segments, monkeypatch):
    """Resumed, too, the numbers are the same."""
    few = functools.partial(MultiScaleDiscriminator, channels=2, windows=(256,))
    monkeypatch.setattr(adversary, "MultiScaleDiscriminator", few)
    config, files = hub.find(small)
    settings = replace(SETTINGS, adversarial=True)
    plain = Trainer(load(files, config), SETTINGS)
    whole, second = (Trainer(load(files, config), settings) for _ in range(2))
    for step in range(2):
        batch = segments.batch(step)
        plain.step(batch)
        assert whole.step(batch)["discriminator"] > 0
    state = whole.state()
    assert equal(plain.state(), {name: state[name] for name in plain.state()}) == set(plain.state())
    second.restore(state)
    for trainer in (plain, whole, second):
        trainer.step(segments.batch(2))
    assert equal(whole.state(), second.state()) == whole.state().keys()
    judged = {name: x for name, x in whole.state().items() if name in plain.state()}
    assert len({n for n in equal(plain.state(), judged) if n.startswith("weights.")}) <= 2
