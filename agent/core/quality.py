"""Quality codes of readings (spec/rules.md Q1): 0 good, 1-99 uncertain but usable, 100-255 bad."""

from enum import IntEnum
from typing import Final


class Quality(IntEnum):
    """Why a reading is as good as it is. One byte; codes may be added inside their range."""

    GOOD = 0
    UNCERTAIN = 1
    OUT_OF_RANGE = 2
    LAST_USABLE = 3
    CLOCK = 4
    DEVICE_UNCERTAIN = 5
    NE43_BAND = 6
    """Between good and fault of a 4-20 mA signal (spec/rules.md Q3): may make a condition true, never false."""
    BAD = 100
    COMM_FAIL = 101
    SENSOR_FAULT = 102
    NOT_A_NUMBER = 103
    CONFIG = 104
    MAINTENANCE = 105
    DEVICE = 106
    SUBSTITUTED = 107


FIRST_BAD: Final = 100


def is_usable(quality: int) -> bool:
    """Tell whether rules may evaluate a reading of this quality."""
    return quality < FIRST_BAD


def is_bad(quality: int) -> bool:
    """Tell whether a reading of this quality is no evidence of anything."""
    return quality >= FIRST_BAD
