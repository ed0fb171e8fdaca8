"""The small language of `dlx runs`: `--where 'metrics."test/accuracy" > 0.9 and config.model.kind = mlp'`, `--sort -created`.

    either     = both { "or" both }                     (keywords in any case)
    both       = one { "and" one }
    one        = "not" one | "(" either ")" | comparison
    comparison = key ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~") value
               | key ["not"] "in" "(" value { "," value } ")"

A key is a field of a run (`status`), a path into its config (`config.optimizer.lr`), a phase (`seconds.train`), or a metric
(`validation/loss`, `metrics."validation/loss"`). Parts of keys, and values, may stand in quotes, in which a backslash makes the
next character an ordinary one. A value without quotes goes on to the next `and`, `or` or closing parenthesis, blanks and all;
one that looks as if it had swallowed a condition or a sign is refused.

What is typed is compared here and nowhere else: none of it becomes SQL, a pattern or markup.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from dlx.errors import Status, UsageError
from dlx.store.conditions import ORDER, Combination, Comparison, Condition, Key, Negation, Operand, as_number
from dlx.store.summary import FIELDS

Known = Callable[[], Sequence[str]]
"""Finds the keys that runs have, for advice: called only when a key is wrong."""

_COMPARISON: Final = re.compile(r"<=|>=|!=|!~|==|=|<|>|~")
_QUOTES: Final = ("'", '"')
_SIGN_FIRST: Final = re.compile(r"[=>~!]|<\s*[-+.=\d]")
"""How a value begins that is the rest of a sign, as in `=>`; `<b>` is a name."""
_JOINT: Final = re.compile(r"[\s,;&|]")
"""What may join two conditions for somebody who does not know `and`. With a sign after it, it does; `a>b` is a name."""
_DEEPEST: Final = 50
"""How many parentheses and `not`s may stand inside one another."""
_USAGE: Final = "write KEY=VALUE, with =, !=, <, <=, >, >=, ~ or in (...), such as 'test/accuracy>0.9'"


def parse_condition(text: str, known: Known = tuple) -> Condition:
    """Reads a condition (the grammar is above). Raises `UsageError`, which says where it is wrong, with the nearest key."""
    return _Reader(text, "--where", known).whole()


def parse_sort(text: str, known: Known = tuple) -> tuple[Key, bool]:
    """Reads a key, and whether a `-` before it asks for the largest first. Raises `UsageError`."""
    return _Reader(text.removeprefix("-"), "--sort", known).only_key(), text.startswith("-")


def nearest_keys(text: str, known: Sequence[str]) -> list[str]:
    """At most three of the known keys that a mistyped one may have meant: those that end with it, or else two that look like it."""
    ends = [key for key in known if key.endswith((f".{text}", f"/{text}"))]
    return ends[:3] or difflib.get_close_matches(text, known, n=2)


@dataclass(frozen=True)
class _Typed:
    """A key as it was typed, from which character on."""

    start: int
    text: str
    parts: tuple[str, ...]


@dataclass
class _Reader:
    """Reads the language from left to right; `at` is the next character."""

    text: str
    option: str
    known: Known
    at: int = 0

    def whole(self) -> Condition:
        found = self._either(0)
        if self.at < len(self.text):
            self._refuse(
                f"what is {self.text[self.at :]!r} to mean? Join conditions with and, or; put values with parentheses in quotes"
            )
        return found

    def only_key(self) -> Key:
        typed = self._parts()
        if not typed.parts:
            self._refuse("name a key, such as test/accuracy")
        found = self._key(typed)
        if self.at < len(self.text):
            self._refuse(f"what is {self.text[self.at :]!r} to mean? It is one key, such as test/accuracy, with a - before it")
        return found

    def _either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._word("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Combination(tuple(parts), every=False)

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._word("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Combination(tuple(parts), every=True)

    def _one(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} parentheses inside one another are too many")
        if self._word("not"):
            return Negation(self._one(depth + 1))
        if not self._sign("("):
            return self._comparison()
        start = self.at
        found = self._either(depth + 1)
        if not self._sign(")"):
            self._refuse(f"the parenthesis at character {start} is not closed")
        return found

    def _comparison(self) -> Comparison:
        self._blanks()
        start = self.at
        typed = self._parts()
        negated = self._word("not")
        within = self._word("in")
        sign = _COMPARISON.match(self.text, self.at)
        if not typed.parts or not (within or (sign and not negated)):
            self.at = start
            self._refuse(_USAGE)
        key = self._key(typed)
        if within or sign is None:
            several = self._several()
            self._check_words(key, several)
            return Comparison(key, "in", several, negated)
        self.at = sign.end()
        operand = self._operand()
        if sign[0] in ("=", "==", "!="):
            self._check_words(key, (operand,))
        match sign[0]:
            case "!=" | "!~":
                return Comparison(key, sign[0][1], (operand,), negated=True)
            case "==":
                return Comparison(key, "=", (operand,))
            case order if order in ORDER and operand.number is None:
                self._refuse(f"{operand.text!r} is neither a number nor a date such as 2026-01-31, and {order} needs one")
        return Comparison(key, sign[0], (operand,))

    def _check_words(self, key: Key, operands: Sequence[Operand]) -> None:
        """A status is one of a few words; any other would match no run, or every one."""
        for operand in operands if key.path == ("status",) else ():
            if operand.text not in tuple(Status):
                self._refuse(f"{operand.text!r} is no status; the statuses are {', '.join(Status)}")

    def _several(self) -> tuple[Operand, ...]:
        if not self._sign("("):
            self._refuse("after in comes a list such as (mlp, cnn)")
        found = [self._operand(",")]
        while self._sign(","):
            found.append(self._operand(","))
        if not self._sign(")"):
            self._refuse("the list after in is not closed")
        return tuple(found)

    def _operand(self, ends: str = "") -> Operand:
        self._blanks()
        if self._next() in _QUOTES:
            text = self._quoted()
            return Operand(text, True, as_number(text))
        start, text = self.at, self._bare(ends)
        if not text and ends:
            self._refuse("here a value is missing")
        if _SIGN_FIRST.match(text):
            self.at = start
            self._refuse("the signs are =, !=, <, <=, >, >=, ~ and !~; put a value that begins with one in quotes")
        joint = _JOINT.search(text)
        if joint and _COMPARISON.search(text, joint.end()):
            self.at = start
            self._refuse(f"what is {text!r} to mean? Join conditions with and, or; put values with such signs in quotes")
        return Operand(text, False, as_number(text))

    def _bare(self, ends: str) -> str:
        """A value without quotes: up to a keyword, a parenthesis too many or one of `ends`, all three outside brackets."""
        start, depth = self.at, 0
        while self.at < len(self.text):
            sign = self.text[self.at]
            if depth == 0 and (sign == ")" or sign in ends or (sign.isspace() and self._ahead(r"\s+(and|or)\b"))):
                break
            depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
            self.at += 1
        if depth:
            self.at = start
            self._refuse(f"a bracket in {self.text[start:].strip()!r} is not closed; put values with brackets in quotes")
        return self.text[start : self.at].strip()

    def _parts(self) -> _Typed:
        """A key as it is typed; without parts where there is none."""
        self._blanks()
        start, parts = self.at, []
        while not parts or self._sign("."):
            if self._next() in _QUOTES:
                parts.append(self._quoted())
            else:
                parts += self._bare_key().split(".")
        text = self.text[start : self.at].strip()
        self._blanks()
        return _Typed(start, text, () if "" in parts else tuple(parts))

    def _key(self, typed: _Typed) -> Key:
        path = _path(typed.parts)
        if path is not None:
            return Key(path, typed.text)
        key = ".".join(typed.parts)
        near = nearest_keys(key, [*FIELDS, *self.known()])
        raise UsageError(
            f"{self.option}: runs have no {key!r}{f', at character {typed.start + 1}' if typed.start else ''}"
            + (f" (did you mean {' or '.join(near)}?)" if near else "")
            + f"; use a metric such as test/accuracy, a config path such as config.optimizer.lr, or one of {', '.join(FIELDS)}"
        )

    def _bare_key(self) -> str:
        start, depth = self.at, 0
        while self.at < len(self.text):
            sign = self.text[self.at]
            depth += (sign == "(") - (sign == ")")
            if depth < 0 or sign.isspace() or sign in "<>=!~\"'":
                break
            self.at += 1
        # A dot before a quoted part belongs between the two.
        if self.text[start : self.at].endswith(".") and self._next() in _QUOTES:
            self.at -= 1
        return self.text[start : self.at]

    def _quoted(self) -> str:
        mark, start, letters = self.text[self.at], self.at, []
        self.at += 1
        while (sign := self._next()) != mark:
            if sign == "\\":
                self.at += 1
            if not self._next():
                self.at = start
                self._refuse(f"the quote {mark} is not closed")
            letters.append(self._next())
            self.at += 1
        self.at += 1
        return "".join(letters)

    def _word(self, word: str) -> bool:
        self._blanks()
        # `in` and `not` may touch a parenthesis; a key may begin with their letters.
        found = self._ahead(rf"{word}(?=[\s(]|$)")
        self.at += len(word) * found
        return found

    def _sign(self, sign: str) -> bool:
        self._blanks()
        found = self._next() == sign
        self.at += found
        return found

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _ahead(self, pattern: str) -> bool:
        return re.compile(pattern, re.IGNORECASE).match(self.text, self.at) is not None

    def _blanks(self) -> None:
        while self._next().isspace():
            self.at += 1

    def _refuse(self, advice: str) -> NoReturn:
        place = f" at character {self.at + 1}" if self.at else ""
        raise UsageError(f"{self.option} {self.text!r}{place}: {advice}")


def _path(parts: Sequence[str]) -> tuple[str, ...] | None:
    """What the parts of a key mean; None for what runs do not have. A metric's name may hold dots, a path's parts not."""
    match parts:
        case ["config", _, *_]:
            return tuple(parts)
        case ["metrics" | "seconds" as kind, first, *more]:
            return kind, ".".join((first, *more))
        case [field] if field in FIELDS:
            return (field,)
    name = ".".join(parts)
    return ("metrics", name) if "/" in name else None
