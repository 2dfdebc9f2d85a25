"""The network, as the paper describes it: layers with ``step(x, state) -> (y, state)``."""
