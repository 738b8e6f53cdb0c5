"""From words to a tree: precedence, functions, types; nothing that is not in this grammar can be written (C7)."""

import difflib
from functools import lru_cache
from typing import Final

from rules.expression.lexer import ExpressionError, Place, Token, Word, words
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
    is_truth,
)

DEPTH_MAX: Final = 20
NODES_MAX: Final = 300
FUNCTIONS: Final = {
    "min": "min(x, y, …)",
    "max": "max(x, y, …)",
    "abs": "abs(x)",
    "avg": "avg(tag, 10min)",
    "rate": "rate(tag, 5min)",
    "held": "held(condition, 10s)",
    "flat": "flat(tag, 10min, epsilon)",
    "age": "age(tag)",
    "bad": "bad(tag)",
}
"""Each with what it takes."""
_KEYWORDS: Final = frozenset({"and", "or", "not"})
_COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})
_NS_PER_S: Final = 1_000_000_000


@lru_cache(maxsize=4_096)
def parse(text: str) -> Node:
    """The tree of a condition; ExpressionError says where and what would be right."""
    parser = _Parser(text)
    node = parser.condition()
    rest = parser.next
    if rest.kind is not Word.END:
        raise _expected("and, or, a comparison or the end", rest)
    return _truth(node)


class _Parser:
    """Recursive descent; ``next`` is the word that has not been taken yet."""

    def __init__(self, text: str) -> None:
        self._words = words(text)
        self._depth = 0
        self._nodes = 0
        self.next = next(self._words)

    def _take(self) -> Token:
        taken = self.next
        if taken.kind is not Word.END:
            self.next = next(self._words)
        return taken

    def _is(self, *texts: str) -> bool:
        return self.next.kind in (Word.NAME, Word.SIGN) and self.next.text in texts

    def _must(self, text: str) -> None:
        if not self._is(text):
            raise _expected(repr(text), self.next)
        self._take()

    def _count(self, place: Place) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise ExpressionError(place, f"more than {NODES_MAX} parts", f"超过 {NODES_MAX} 个部分")

    def condition(self) -> Node:
        """``or`` binds least."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError(self.next.place, f"nested deeper than {DEPTH_MAX}", f"嵌套超过 {DEPTH_MAX} 层")
        node = self._chain("or")
        self._depth -= 1
        return node

    def _chain(self, word: str) -> Node:
        def part() -> Node:
            return self._chain("and") if word == "or" else self._negation()

        first = part()
        if not self._is(word):
            return first
        parts = [_truth(first)]
        while self._is(word):
            self._count(self._take().place)
            parts.append(_truth(part()))
        return Logic(first.place, word, tuple(parts))

    def _negation(self) -> Node:
        if not self._is("not"):
            return self._comparison()
        place = self._take().place
        self._count(place)
        self._deeper(place)
        node = Not(place, _truth(self._negation()))
        self._depth -= 1
        return node

    def _deeper(self, place: Place) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError(place, f"nested deeper than {DEPTH_MAX}", f"嵌套超过 {DEPTH_MAX} 层")

    def _comparison(self) -> Node:
        left = self._sum()
        pairs: list[Node] = []
        while self.next.kind is Word.SIGN and self.next.text in _COMPARISONS:
            sign = self._take()
            self._count(sign.place)
            right = self._sum()
            pairs.append(Comparison(sign.place, sign.text, _number(left), _number(right)))
            left = right
        if not pairs:
            return left
        return pairs[0] if len(pairs) == 1 else Logic(pairs[0].place, "and", tuple(pairs))

    def _sum(self) -> Node:
        left = self._product()
        while self._is("+", "-"):
            sign = self._take()
            self._count(sign.place)
            left = Arithmetic(sign.place, sign.text, _number(left), _number(self._product()))
        return left

    def _product(self) -> Node:
        left = self._signed()
        while self._is("*", "/"):
            sign = self._take()
            self._count(sign.place)
            left = Arithmetic(sign.place, sign.text, _number(left), _number(self._signed()))
        return left

    def _signed(self) -> Node:
        if not self._is("-", "+"):
            return self._atom()
        sign = self._take()
        self._deeper(sign.place)
        self._count(sign.place)
        operand = _number(self._signed())
        self._depth -= 1
        return operand if sign.text == "+" else Negative(sign.place, operand)

    def _atom(self) -> Node:
        token = self._take()
        self._count(token.place)
        if token.kind is Word.NUMBER:
            return Number(token.place, token.value)
        if token.kind is Word.DURATION:
            return Number(token.place, token.value, "s")
        if token.kind is Word.QUOTED:
            return Name(token.place, token.text)
        if token.kind is Word.NAME and token.text not in _KEYWORDS:
            return self._call(token) if self._is("(") else Name(token.place, token.text)
        if token.kind is Word.SIGN and token.text == "(":
            node = self.condition()
            self._must(")")
            return node
        raise _expected("a tag, a number, a function or '('", token)

    def _call(self, function: Token) -> Node:
        if function.text not in FUNCTIONS:
            near = difflib.get_close_matches(function.text, FUNCTIONS, n=1)
            hint, hint_zh = (f"; did you mean {near[0]}?", f"；是否为 {near[0]}？") if near else ("", "")
            known = ", ".join(FUNCTIONS)
            raise ExpressionError(
                function.place,
                f"unknown function {function.text}{hint} There are {known}"
                if hint
                else f"unknown function {function.text}; there are {known}",
                f"未知的函数 {function.text}{hint_zh} 可用：{known}",
            )
        self._take()
        arguments = [self.condition()]
        while self._is(","):
            self._take()
            arguments.append(self.condition())
        self._must(")")
        return _made(function, arguments)


def _made(function: Token, arguments: list[Node]) -> Node:
    place, name = function.place, function.text
    match name, arguments:
        case (("min" | "max"), [_, _, *_]):
            return Call(place, name, tuple(_number(each) for each in arguments))
        case "abs", [one]:
            return Call(place, name, (_number(one),))
        case "held", [condition, Number(unit="s") as duration]:
            return Held(place, _truth(condition), _ns(duration))
        case (("avg" | "rate"), [Name() as tag, Number(unit="s") as window]):
            return Look(place, name, tag, _ns(window))
        case "flat", [Name() as tag, Number(unit="s") as window, Number(unit=None) as epsilon]:
            return Look(place, name, tag, _ns(window), epsilon.value)
        case (("age" | "bad"), [Name() as tag]):
            return Look(place, name, tag)
        case _:
            usage = FUNCTIONS[name]
            raise ExpressionError(place, f"expected {usage}", f"应写作 {usage}")


def _ns(duration: Number) -> int:
    length_ns = round(duration.value * _NS_PER_S)
    if length_ns == 0:
        raise ExpressionError(duration.place, "expected a duration above zero", "时长应大于零")
    return length_ns


def _truth(node: Node) -> Node:
    if is_truth(node):
        return node
    what = f"; write {node.tag} == 1" if isinstance(node, Name) else ""
    what_zh = f"；应写作 {node.tag} == 1" if isinstance(node, Name) else ""
    raise ExpressionError(
        node.place, f"expected a condition, found a number{what}", f"此处应为条件，而不是数值{what_zh}"
    )


def _number(node: Node) -> Node:
    if is_truth(node):
        raise ExpressionError(node.place, "expected a number, found a condition", "此处应为数值，而不是条件")
    return node


def _expected(what: str, found: Token) -> ExpressionError:
    text = "the end" if found.kind is Word.END else repr(found.text)
    text_zh = "结尾" if found.kind is Word.END else f"“{found.text}”"
    hint, hint_zh = _hint(found)
    return ExpressionError(found.place, f"expected {what}, found {text}{hint}", f"此处不应为{text_zh}{hint_zh}")


def _hint(found: Token) -> tuple[str, str]:
    if found.kind is Word.NAME and found.text not in _KEYWORDS and found.text.lower() in _KEYWORDS:
        return f"; write {found.text.lower()}", f"；应写作 {found.text.lower()}"
    return "", ""
