"""Audio devices: the callback's side, what keeps them open, two clocks that differ."""
