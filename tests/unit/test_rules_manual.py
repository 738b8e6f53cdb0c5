"""The engineer's manual and its examples hold: every YAML in them is loaded, every test in them passes."""

import re
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.config.load import load, load_rules
from rules.registry import kinds

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = ("tank_overfill", "h2s_area", "coal_heading", "tank_farm")
MANUALS = ("rules.md", "rules.zh-CN.md")
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TAGS = re.compile(r"<!-- tags\n(.*?)-->", re.DOTALL)


def blocks(manual: str) -> list[str]:
    return _BLOCK.findall((DOCS / manual).read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_tests_of_an_example_pass(example, capsys):
    code = main(["test", str(DOCS / "examples" / example / "tests.yaml")])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("manual", MANUALS)
def test_every_snippet_of_the_manual_is_what_davy_takes(manual, tmp_path):
    text = (DOCS / manual).read_text(encoding="utf-8")
    found = _TAGS.search(text)
    assert found is not None
    for i, block in enumerate(blocks(manual)):
        (tmp_path / "rules.yaml").write_text(block + ("" if "tags:" in _keys(block) else found[1]), encoding="utf-8")
        if "site:" in _keys(block):
            (tmp_path / "davy.yaml").write_text(block, encoding="utf-8")
            load(tmp_path / "davy.yaml", env={})
        elif "tests:" in _keys(block):
            (tmp_path / "tests.yaml").write_text(block, encoding="utf-8")
            (tmp_path / "rules.yaml").write_text(blocks(manual)[0] + found[1], encoding="utf-8")
            assert main(["test", str(tmp_path / "tests.yaml")]) == 0, f"block {i}"
        else:
            load_rules(tmp_path / "rules.yaml")


def _keys(block: str) -> set[str]:
    return set(re.findall(r"^\w+:", block, re.MULTILINE))


@pytest.mark.parametrize("manual", MANUALS)
def test_every_kind_of_rule_is_in_the_manual(manual):
    text = "\n".join(blocks(manual))
    missing = [kind for kind in kinds() if f"condition: {kind}" not in text]
    assert missing == []


def test_both_manuals_have_the_same_structure():
    def shape(manual: str) -> list[str]:
        text = (DOCS / manual).read_text(encoding="utf-8")
        return re.findall(r"^(#+|```\w*|\|)", text, re.MULTILINE)

    assert shape("rules.md") == shape("rules.zh-CN.md")
    assert [re.sub(r"#.*|message:.*|name:.*", "", each) for each in blocks("rules.md")] == [
        re.sub(r"#.*|message:.*|name:.*", "", each) for each in blocks("rules.zh-CN.md")
    ]
