"""Maintenance of tags: their readings are bad, for a while and with a name (spec/rules.md Q8); pure."""

from collections.abc import Container
from dataclasses import replace
from typing import Final

from agent.core.batch import Batch
from agent.core.quality import Quality
from rules.lifecycle import Lifecycle

MAINTENANCE: Final = "davy:maintenance:"
"""Its alarm, followed by the tag: active as long as it lasts, so that its end is told as well."""
EXERCISE: Final = "davy:exercise"
CODE: Final = Quality.MAINTENANCE.value


def marked(batch: Batch, tags: Container[str]) -> Batch:
    """The batch with quality 105 on all readings of ``tags``; values stay raw. The same batch where there are none."""
    names = batch.layout.tags
    index = range(len(batch.values)) if batch.index is None else batch.index
    places = [i for i, position in enumerate(index) if names[position] in tags]
    if not places:
        return batch
    quality = bytearray(batch.quality or bytes(len(batch.values)))
    for place in places:
        quality[place] = CODE
    return replace(batch, quality=bytes(quality))


def mark(batch: Batch, life: Lifecycle) -> Batch:
    """A batch that the rules have not seen yet, marked as it will be in force at its time.

    Maintenance that ends before the batch was taken in no longer counts, though its timer has not been fired yet;
    one that ends at that very time still does (T5). What comes late was measured at another time: it stays as it is.
    """
    if batch.historical:
        return batch
    lasting: set[str] = set()
    for tag in life.concealed.tags:
        running = life.internals.get(MAINTENANCE + tag)
        if running is None or running.until_ns is None or running.until_ns >= batch.at_ns:
            lasting.add(tag)
    return marked(batch, lasting)
