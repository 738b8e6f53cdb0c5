"""docs/rule-tests.md and its Chinese twin: every snippet in them works, and they say the same."""

import re
from pathlib import Path

import pytest

from agent.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("rule-tests.md", "rule-tests.zh-CN.md")


def snippets(page):
    return re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_first_test_of_the_page_passes_as_it_stands(page, tmp_path, capsys):
    rules, tests, more, _ = snippets(page)
    (tmp_path / "tests").mkdir()
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "tests" / "level.yaml").write_text(tests)
    assert main(["test", str(tmp_path / "tests" / "level.yaml")]) == 0, capsys.readouterr().out
    gas = "tags: [{id: G12.h2s}, {id: G13.h2s}]\n"
    gas += "rules: [{id: h, tag: G12.h2s, condition: high, limit: 10, priority: low}]"
    (tmp_path / "rules.yaml").write_text(gas)
    case = f"rules: ../rules.yaml\ntests:\n  - name: gas\n    rule: h\n    expect: [72s activated]\n{more}"
    (tmp_path / "tests" / "gas.yaml").write_text(case)
    assert main(["test", str(tmp_path / "tests" / "gas.yaml")]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_the_scenario_of_the_page_passes_as_it_stands(page, tmp_path, capsys):
    rules = DOCS / "examples" / "tank_farm" / "rules.yaml"
    (tmp_path / "leak.yaml").write_text(f"rules: {rules}\ntests:\n{snippets(page)[3]}", encoding="utf-8")
    assert main(["test", str(tmp_path / "leak.yaml")]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_every_signal_in_the_table_of_the_page_is_one(page):
    from rules.testing.notation import samples

    table = (DOCS / page).read_text().partition("|---|---|\n")[2].partition("\n\n")[0]
    written = [text for line in table.splitlines() for text in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert len(written) > 10
    for text in written:
        assert samples(text, 1_000_000_000, "")[1] >= 1


def test_the_two_pages_have_the_same_headings_and_rows():
    shapes = []
    for page in PAGES:
        lines = (DOCS / page).read_text().splitlines()
        shapes.append(
            [re.match(r"#+|\||    davy|```", line)[0] for line in lines if re.match(r"#+|\||    davy|```", line)]
        )
    assert shapes[0] == shapes[1]
