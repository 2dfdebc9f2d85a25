"""The call shapes of other projects, each one thin file over :class:`mimi_mlx.Mimi`."""
