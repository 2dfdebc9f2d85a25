"""How this package and its extras are installed: hints get it here, so that one line says it."""


def install(extra: str | None = None) -> str:
    """The command, which is run where the source is: the package is not on PyPI."""
    return f"pip install '.[{extra}]'" if extra else "pip install ."
