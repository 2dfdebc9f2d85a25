"""Live: microphone and speaker, and frames between two machines.

:class:`Duplex` is for programs; the rest is ``mimi-mlx stream``.
"""

from .dialogue import DuplexFrame
from .duplex import Duplex

__all__ = ["Duplex", "DuplexFrame"]
