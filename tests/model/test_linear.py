"""Loading a model leaves the caller's random generator as it was."""

import mlx.core as mx

from mimi_mlx import Mimi


def test_loading_draws_no_random_numbers():
    mx.random.seed(0)
    expected = mx.random.uniform().item()
    mx.random.seed(0)
    Mimi.from_pretrained("tiny")
    assert mx.random.uniform().item() == expected
