"""Q2: a value outside the tag's range is quality 2, also in recorded data."""

from array import array

from agent.core.batch import Batch, Layout
from agent.core.ranges import Ranges

LAYOUT = Layout("d", ("A", "B", "C"))
RANGES = Ranges({"A": (0.0, 10.0), "C": (-1.0, 1.0)})


def test_values_outside_are_marked_and_bad_ones_left_as_they_are() -> None:
    marked = RANGES.mark(Batch(LAYOUT, 0, array("d", [12.0, 99.0, 5.0]), bytes([0, 0, 101])))
    assert marked.quality == bytes([2, 0, 101])
    assert RANGES.mark(Batch(LAYOUT, 0, array("d", [10.0, 99.0, -1.0]))).quality is None


def test_columns_are_found_by_their_index() -> None:
    batch = Batch(LAYOUT, 0, array("d", [3.0, 11.0]), bytes([0, 1]), array("I", [2, 0]))
    assert RANGES.mark(batch).quality == bytes([2, 2])


def test_nan_is_left_to_be_not_a_number() -> None:
    assert RANGES.mark(Batch(LAYOUT, 0, array("d", [float("nan"), 0.0, 0.0]))).quality == bytes([0, 0, 0])
