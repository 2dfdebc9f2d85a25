"""Text of others, on its way to a terminal."""


def printable(text: str) -> str:
    """One line, where whatever is no printable character is escaped as in a Python string.

    Names of files and tensors, metadata, and errors that quote them may hold anything: a terminal
    would obey escapes, and half of a surrogate pair cannot be written.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, one: str, several: str = "") -> str:
    """So many of something: "1 frame", "2 frames"; ``several`` is its plural, if that has no -s."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"
