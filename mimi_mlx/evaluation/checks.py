"""A check of verify: a figure, what it must be, and what follows."""

from typing import NamedTuple

Limits = tuple[float, float]
"""The least share of equal codes, and the most RMS of a difference over RMS of what is right."""

FLOAT32: Limits = 1.0, 1e-4
REDUCED: Limits = 0.98, 2e-2  # of 8 or 11 bits: the last bits of an input decide oftener

FIRST_CODES = 0.9
"""Of the first codebook's, in a reduced recipe against float32."""


class Check(NamedTuple):
    """One line of the table."""

    name: str
    figure: str  # or why the check could not be made
    must: str  # what the figure has to be
    passed: bool | None  # None: not run, which proves nothing

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return {True: "pass", False: "FAIL", None: "not run"}[self.passed]


def share(name: str, share: float, least: float) -> Check:
    """A share of codes that are equal."""
    must = "all" if least == 1 else f"at least {100 * least:g} %"
    return Check(name, f"{100 * share:.2f} % equal", must, bool(share >= least))


def error(name: str, error: float, most: float) -> Check:
    """A relative error."""
    return Check(name, f"error {error:.1e}", f"at most {most:.0e}", bool(error <= most))


def snr(name: str, snr: float, least: float) -> Check:
    """A waveform's signal-to-noise ratio in dB."""
    return Check(name, f"{snr:.1f} dB", f"at least {least:g} dB", bool(snr >= least))
