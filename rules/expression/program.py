"""From a tree to a function: a compiled one for the usual case, a three-valued one where something is unknown (C7)."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rules.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Held,
    Logic,
    Look,
    Name,
    Negative,
    Node,
    Not,
    Number,
    walk,
)

Value = float | bool | None
Leaf = Name | Look | Held
"""What comes from outside: readings, and what has a memory."""


class UnknownError(Exception):
    """A number turned out to be none; the three-valued way knows what that means."""


def _known(number: float) -> float:
    if number != number:  # NaN
        raise UnknownError
    return number


_NAMES: Final[dict[str, Any]] = {"__builtins__": {}, "known": _known, "min": min, "max": max, "abs": abs}


class Program:
    """``leaves`` are to be given as values, in that order, to :meth:`run`."""

    __slots__ = ("_fast", "_slow", "leaves")

    def __init__(self, node: Node) -> None:
        leaves: dict[Any, int] = {}
        source = _source(node, leaves)
        arguments = ", ".join(f"v{i}" for i in range(len(leaves)))
        # The text is made from the tree of our own grammar, so it holds nothing but numbers, signs and v0, v1 …
        code = compile(f"lambda {arguments}: {source}", "<expression>", "eval")
        self._fast: Callable[..., bool] = eval(code, dict(_NAMES))
        self._slow = _three_valued(node, leaves)
        by_key = {_key(each): each for each in reversed(list(walk(node))) if isinstance(each, Leaf)}
        self.leaves: list[Leaf] = [by_key[key] for key in leaves]

    def run(self, values: Sequence[Value]) -> bool | None:
        """True, false or unknown (Kleene); a value of None is unknown, so are a division by zero and a NaN."""
        if None not in values:
            try:
                return self._fast(*values)
            except (ZeroDivisionError, UnknownError):
                pass
        return self._slow(values)  # pyright: ignore[reportReturnType] -- the whole is a condition


def _key(leaf: Leaf) -> Any:
    """What is the same wherever it stands; a ``held`` is each its own, for it has a memory."""
    if isinstance(leaf, Name):
        return leaf.tag
    return leaf if isinstance(leaf, Held) else (leaf.function, leaf.tag.tag, leaf.window_ns, leaf.epsilon)


def _source(node: Node, leaves: dict[Any, int]) -> str:
    match node:
        case Name() | Look() | Held():
            return f"v{leaves.setdefault(_key(node), len(leaves))}"
        case Number():
            return repr(node.value)
        case Negative():
            return f"(-{_source(node.operand, leaves)})"
        case Arithmetic():
            return f"({_chain(node, leaves)})"
        case Comparison():
            return f"({_operand(node.left, leaves)} {node.sign} {_operand(node.right, leaves)})"
        case Logic():
            return "(" + f" {node.word} ".join([_source(part, leaves) for part in node.parts]) + ")"
        case Not():
            return f"(not {_source(node.operand, leaves)})"
        case Call():
            return f"{node.function}({', '.join([_operand(each, leaves) for each in node.arguments])})"


def _chain(node: Arithmetic, leaves: dict[Any, int]) -> str:
    """Without brackets where Python groups as we do: it takes no more than 200 pairs, one within the other."""
    left = node.left
    if isinstance(left, Arithmetic) and (node.sign in "+-" or left.sign in "*/"):
        text = _chain(left, leaves)
    else:
        text = _source(left, leaves)
    return f"{text} {node.sign} {_source(node.right, leaves)}"


def _operand(node: Node, leaves: dict[Any, int]) -> str:
    """A number that must not be a NaN where it is compared: NaN would be less, equal and greater of nothing."""
    source = _source(node, leaves)
    return f"known({source})" if isinstance(node, Arithmetic | Negative | Call) else source


Way = Callable[[Sequence[Value]], Value]


def _three_valued(node: Node, leaves: Mapping[Any, int]) -> Way:
    match node:
        case Name() | Look() | Held():
            return operator.itemgetter(leaves[_key(node)])
        case Number():
            number = node.value
            return lambda _: number
        case Negative():
            return _numeric(operator.neg, [_three_valued(node.operand, leaves)])
        case Arithmetic():
            ways = [_three_valued(each, leaves) for each in (node.left, node.right)]
            return _numeric(_SIGNS[node.sign], ways)
        case Call():
            ways = [_three_valued(each, leaves) for each in node.arguments]
            return _numeric({"min": min, "max": max, "abs": abs}[node.function], ways)
        case Comparison():
            ways = [_three_valued(each, leaves) for each in (node.left, node.right)]
            return _numeric(_SIGNS[node.sign], ways)
        case Logic():
            return _kleene([_three_valued(part, leaves) for part in node.parts], decides=node.word == "or")
        case Not():
            return _numeric(operator.not_, [_three_valued(node.operand, leaves)])


_SIGNS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else None,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _numeric(function: Callable[..., Any], ways: Sequence[Way]) -> Way:
    """Unknown where an operand is, and where the result is no number."""

    def evaluate(values: Sequence[Value]) -> Value:
        operands = [way(values) for way in ways]
        if None in operands:
            return None
        result = function(*operands)
        return result if result == result else None  # NaN

    return evaluate


def _kleene(ways: Sequence[Way], *, decides: bool) -> Way:
    """``or`` is true as soon as one part is, ``and`` false; else unknown if one part is unknown."""

    def evaluate(values: Sequence[Value]) -> Value:
        parts = [way(values) for way in ways]
        if decides in parts:
            return decides
        return None if None in parts else not decides

    return evaluate
