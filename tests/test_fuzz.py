"""Inputs that nobody meant, made by tests/fuzz.py: what once broke something, and new ones."""

import importlib
import random

import fuzz
import pytest


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_broke_something_once(target, tmp_path):
    module = importlib.import_module(f"fuzz_{target}")
    fuzzer = module.Fuzzer(tmp_path)
    for seed in (*module.FOUND, 1, 2, 3):
        fuzzer.attack(seed)


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_new_attacks_break_nothing(target):
    outcome = fuzz.run(target, 5, random.SystemRandom().randrange(2**40))
    assert outcome.failed is None, outcome
    assert outcome.attacks > 100
