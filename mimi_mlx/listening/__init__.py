"""One page to hear a clip and its coded versions in: a file of HTML that needs no network."""

from .page import Comparison, Version, page
from .versions import compare, load

__all__ = ["Comparison", "Version", "compare", "load", "page"]
