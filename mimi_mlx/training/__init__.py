"""Training the decoder of a Mimi whose encoder and codebooks stay: its codes stay the same."""
