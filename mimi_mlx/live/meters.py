"""Meters: levels, and how long things took, in constant memory however long it goes on."""

import math

import numpy as np

# Times are counted in bins 2 % wide, from 1 us on.
_FIRST, _STEP = 1e-6, math.log(1.02)

SILENCE = -100.0  # dBFS of what is quieter than that, or nothing


def level(samples: np.ndarray) -> float:
    """The RMS level of samples ``[T]`` in dBFS: a full-scale sine has -3."""
    power = float(np.mean(np.square(samples))) if len(samples) else 0.0
    return max(SILENCE, 10 * math.log10(power)) if power else SILENCE


class Times:
    """Median, 95th percentile and worst of durations in seconds, within 1 %."""

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self.count = 0
        self.worst = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        bin = math.floor(math.log(max(seconds, _FIRST) / _FIRST) / _STEP)
        self._bins[bin] = self._bins.get(bin, 0) + 1
        self.count += 1
        self.worst = max(self.worst, seconds)

    def share(self, share: float) -> float:
        """What a share of all is not longer than; 0 if there are none."""
        rest = share * self.count
        for bin in sorted(self._bins):
            rest -= self._bins[bin]
            if rest <= 0:
                return min(self.worst, _FIRST * math.exp((bin + 0.5) * _STEP))
        return 0.0

    @property
    def median(self) -> float:
        """Half are not longer."""
        return self.share(0.5)

    @property
    def p95(self) -> float:
        """19 in 20 are not longer."""
        return self.share(0.95)
