"""Live: microphone and speaker, and frames between two machines."""
