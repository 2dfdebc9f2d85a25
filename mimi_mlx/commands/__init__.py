"""What the commands of ``mimi-mlx`` do, one file each."""
