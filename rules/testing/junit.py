"""Test results as JUnit XML, which every build server reads; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test for the report; ``failure`` is None where it passed."""

    file: str
    name: str
    line: int
    seconds: float
    failure: str | None


def junit(results: Sequence[Outcome]) -> bytes:
    """The report, UTF-8; one suite for each file."""
    root = ElementTree.Element("testsuites", name="davy test")
    suites: dict[str, ElementTree.Element] = {}
    for result in results:
        suite = suites.get(result.file)
        if suite is None:
            own = [each for each in results if each.file == result.file]
            suite = suites[result.file] = ElementTree.SubElement(
                root,
                "testsuite",
                name=_clean(result.file),
                tests=str(len(own)),
                failures=str(sum(each.failure is not None for each in own)),
                errors="0",
                skipped="0",
                time=f"{sum(each.seconds for each in own):.3f}",
            )
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_clean(result.file),
            name=_clean(result.name),
            file=_clean(result.file),
            line=str(result.line),
            time=f"{result.seconds:.3f}",
        )
        if result.failure is not None:
            lines = result.failure.splitlines()
            # The first line of a comparison is its head; the first wrong one is marked.
            summary = next((line.strip() for line in lines if line[:4].strip() in ("-", "+", "~", "!")), lines[0])
            failure = ElementTree.SubElement(case, "failure", message=_clean(summary), type="transitions")
            failure.text = _clean(result.failure)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """XML has no way to write control characters, not even escaped."""
    return _FORBIDDEN.sub("?", text)
