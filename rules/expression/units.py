"""Names and units of an expression against the tags there are (spec/rules.md C7, C9)."""

import difflib
from collections.abc import Iterator, Mapping

from agent.core.tags import Tag
from rules.expression.lexer import ExpressionError
from rules.expression.tree import Arithmetic, Call, Comparison, Look, Name, Negative, Node, Number, children, names


def faults(node: Node, tags: Mapping[str, Tag]) -> Iterator[ExpressionError]:
    """Unknown names, each with the closest; where all are known, the units that do not go together."""
    unknown = [name for name in names(node) if name.tag not in tags]
    for name in unknown:
        yield _unknown(name, tags)
    if not unknown:
        yield from _clashes(node, tags)


def _unknown(name: Name, tags: Mapping[str, Tag]) -> ExpressionError:
    near = difflib.get_close_matches(name.tag, tags, n=1)
    whole = next((tag for tag in tags if "-" in tag and tag.startswith(f"{name.tag}-")), None)
    if whole is not None:
        hint, hint_zh = f"; a name with - is written in quotes: '{whole}'", f"；含 - 的位号须加引号：'{whole}'"
    elif near:
        hint, hint_zh = f"; did you mean {near[0]}?", f"；是否为 {near[0]}？"
    else:
        hint = hint_zh = ""
    return ExpressionError(name.place, f"unknown tag {name.tag}{hint}", f"未知的位号 {name.tag}{hint_zh}")


def _clashes(node: Node, tags: Mapping[str, Tag]) -> Iterator[ExpressionError]:
    for child in children(node):
        yield from _clashes(child, tags)
    match node:
        case Comparison() | Arithmetic(sign="+" | "-"):
            yield from _clash(node, (node.left, node.right), tags)
        case Call():
            yield from _clash(node, node.arguments, tags)
        case _:
            return


def _clash(node: Node, parts: tuple[Node, ...], tags: Mapping[str, Tag]) -> Iterator[ExpressionError]:
    units = dict.fromkeys(unit for part in parts if (unit := _unit(part, tags)) is not None)
    if len(units) > 1:
        text = " and ".join(units)
        yield ExpressionError(
            node.place,
            f"different units: {text}; multiply by the factor between them",
            f"单位不同：{'、'.join(units)}；须乘以换算系数",
        )


def _unit(node: Node, tags: Mapping[str, Tag]) -> str | None:
    """The unit of a number; None where it is not known or, for a plain number, any."""
    match node:
        case Number():
            return node.unit
        case Name():
            return tags[node.tag].unit
        case Look(function="avg"):
            return tags[node.tag.tag].unit
        case Look(function="rate"):
            unit = tags[node.tag.tag].unit
            return None if unit is None else f"{unit}/min"
        case Look(function="age"):
            return "s"
        case Negative():
            return _unit(node.operand, tags)
        case Arithmetic(sign="+" | "-"):
            return _unit(node.left, tags) or _unit(node.right, tags)
        case Call():
            return next((unit for part in node.arguments if (unit := _unit(part, tags)) is not None), None)
        case _:
            return None  # a product or a quotient has a unit of its own, and a factor may convert
