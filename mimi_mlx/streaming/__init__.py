"""Running the codec: whole clips and streams, saved streams, a thread that owns MLX."""
