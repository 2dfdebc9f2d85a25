"""Proof and figures: how right, how close to the original, how fast."""
