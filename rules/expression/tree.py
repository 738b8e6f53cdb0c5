"""What an expression says, as a tree; each node knows its place in the text."""

from collections.abc import Iterator
from dataclasses import dataclass

from rules.expression.lexer import Place


@dataclass(frozen=True, slots=True)
class Number:
    """A number; ``unit`` is ``s`` where it was written as a duration."""

    place: Place
    value: float
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """The last reading of a tag."""

    place: Place
    tag: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``+ - * /``."""

    place: Place
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Negative:
    """``-x``."""

    place: Place
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``< <= > >= == !=``."""

    place: Place
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Logic:
    """``and``, ``or`` over two or more."""

    place: Place
    word: str
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """``not x``."""

    place: Place
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """``min max abs`` over numbers."""

    place: Place
    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What looks at one tag in another way: ``avg rate flat age bad``."""

    place: Place
    function: str
    tag: Name
    window_ns: int = 0
    epsilon: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """``held(x, d)``: x has been true for so long."""

    place: Place
    operand: "Node"
    duration_ns: int


Node = Number | Name | Arithmetic | Negative | Comparison | Logic | Not | Call | Look | Held

TRUTHS = (Comparison, Logic, Not, Held)


def is_truth(node: Node) -> bool:
    """It is true or false; else it is a number."""
    return isinstance(node, TRUTHS) or (isinstance(node, Look) and node.function in ("flat", "bad"))


def children(node: Node) -> tuple[Node, ...]:
    """What a node is made of."""
    match node:
        case Arithmetic() | Comparison():
            return (node.left, node.right)
        case Logic():
            return node.parts
        case Call():
            return node.arguments
        case Negative() | Not() | Held():
            return (node.operand,)
        case Look():
            return (node.tag,)
        case Number() | Name():
            return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it, in the order of the text."""
    yield node
    for child in children(node):
        yield from walk(child)


def names(node: Node) -> tuple[Name, ...]:
    """The tags it names, each once, at their first place."""
    found: dict[str, Name] = {}
    for each in walk(node):
        if isinstance(each, Name):
            found.setdefault(each.tag, each)
    return tuple(found.values())
