"""Checkpoints: from a name to a ``Codec`` with its weights, and to smaller ones."""
