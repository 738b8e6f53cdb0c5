"""A progress bar on stderr, where that is a terminal."""

import sys
from typing import Final

from agent.cli.text import width

_WIDTH: Final = 40


class ProgressBar:
    """Draws itself anew when a hundredth more is done; nothing where stderr is no terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = -1
        self._is_on = sys.stderr.isatty()

    def __call__(self, share: float) -> None:
        """Show which share is done, 0 to 1."""
        percent = min(100, int(share * 100))
        if not self._is_on or percent == self._shown:
            return
        self._shown = percent
        filled = percent * _WIDTH // 100
        sys.stderr.write(f"\r{self._label} [{'#' * filled}{'.' * (_WIDTH - filled)}] {percent:3d} %")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_on and self._shown >= 0:
            sys.stderr.write("\r" + " " * (width(self._label) + _WIDTH + 9) + "\r")
            sys.stderr.flush()
