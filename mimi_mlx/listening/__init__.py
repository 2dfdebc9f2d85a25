"""One page to hear a clip and its coded versions in: a file of HTML that needs no network."""

from .document import Comparison, Version, page, policy
from .versions import check, compare, load, versions

__all__ = ["Comparison", "Version", "check", "compare", "load", "page", "policy", "versions"]
