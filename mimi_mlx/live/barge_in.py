"""Noticing that somebody speaks over the assistant, whose own voice does not count."""

from .devices.echo_canceller import CleanBlock

# A block of 10 ms is evidence as far as speech is likelier in it than this: less is said of what
# is left of an echo.
_DOUBT = 0.4

# How much evidence, in blocks, is enough: 200 ms of speech, in half of which the voice detector
# becomes sure. And the share of the microphone's power that has to be left for a block to be
# evidence: the detector hears voices in far less. In the first seconds of what the speaker plays
# the canceller lets through more, so 400 ms are asked for.
_LEARNING = 2.5
_AT_FIRST, _LATER = (12.0, 10**-2.0), (3.0, 10**-2.5)

# Blocks in which no more than that share was left of what the speaker said, after which it is
# believed that the canceller works; and so it is from ``_LEARNING`` on.
_PROOF = 30

# Powers: from which on a block of the speaker's is speech, -45 dBFS, as a decoder says something of
# silence too; and below which nothing is left, -60. And blocks for which the speaker may pause.
_SPOKEN, _NOTHING, _PAUSE = 10**-4.5, 1e-6, 50

# The share of the newest block in the powers that are compared.
_NEWEST = 0.3


class BargeInDetector:
    """Adds up speech in what an echo canceller leaves."""

    def __init__(self) -> None:
        self._near = self._clean = 0.0  # powers, averaged
        self._evidence = 0.0
        self._proof = 0  # blocks
        self._paused = _PAUSE  # blocks since the speaker spoke

    def hears(self, block: CleanBlock, speaking: bool) -> bool:
        """Take a block; whether it makes 200 ms of speech while the speaker speaks.

        Args:
            speaking: Whether anything is being said.
        """
        self._paused = 0 if block.far > _SPOKEN else self._paused + 1
        enough, least = _LATER if block.learnt > _LEARNING else _AT_FIRST
        self._clean += _NEWEST * (block.clean - self._clean)
        is_left = self._clean > max(least * self._near, _NOTHING)
        self._near += _NEWEST * (block.near - self._near)  # one block later, as what is clean
        self._proof = self._proof + (not is_left and not self._paused) if block.learnt else 0
        works = self._proof > _PROOF or block.learnt > _LEARNING
        evidence = block.speech - _DOUBT
        if evidence < 0 or is_left:
            self._evidence = max(0.0, self._evidence + evidence)
        if not speaking or not works or self._paused > _PAUSE:
            self._evidence = 0.0
        if self._evidence <= enough:
            return False
        self._evidence = 0.0
        return True
