"""The page at /: its files, some of which the listening page has too, and what it may load."""

from pathlib import Path

from .. import listening

_PAGE = Path(__file__).parent / "page"
_LISTENING = Path(listening.__file__).parent

FILES = {
    "/": _PAGE / "index.html",
    **{f"/{file.name}": file for file in sorted(_PAGE.iterdir()) if file.is_file()},
    **{f"/listening/{name}": _LISTENING / name for name in ("page.css", "pictures.js")},
}
"""By their paths; they hold no secret."""


def policy() -> str:
    """The Content-Security-Policy of the service: its own files, and a listening page in a frame.

    A frame of a page's own making has the page's policy besides its own.
    """
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' data:; frame-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " + listening.policy("'self'")
    )
