"""One line of TAP, on tap.py's parser with its gaps filled (each gap is named where it is closed).

tap.py 3.2 reads `okay` and `ok1` as passes, cuts `issue #42 fixed`, knows no escapes, and raises at 'TAP version 12'.
"""

from __future__ import annotations

import re
from typing import Any

from tap.directive import Directive
from tap.line import Line, Plan, Result, Unknown, Version
from tap.parser import Parser

LINE_LIMIT = 64 * 1024
"""Bytes of one line that are read; what follows is dropped, so that an endless line costs no memory."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_DIRECTIVE = re.compile(r"\s*(skip|todo)(?![\w-]):?\s*(.*)", re.IGNORECASE | re.DOTALL)
_PLAN_SKIP = re.compile(r"skip\S*\s*(.*)", re.IGNORECASE | re.DOTALL)
_HUGE = 10**9
"""Numbers are cut here: no output holds so many checks, and Python refuses to read very long ones."""


def clean(raw: bytes) -> str:
    """A line as text: colours and control characters taken out, bytes that are not UTF-8 replaced, no line end."""
    text = raw.decode("utf-8", "replace").rstrip()
    if text.isprintable():
        return text
    text = text.removeprefix("\ufeff")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return _CONTROLS.sub("", text).rstrip()


class TapLines(Parser):  # type: ignore[misc]  # tap.py carries no types
    """tap.py's parser, corrected. `version` is the TAP version said so far; 14 adds the escape of a backslash."""

    # A test point needs a word's end behind `ok`: `okay then`, `ok1` and `not okay` are none.
    _rest = r"(?!\S)(?:\s+(?P<number>[0-9]+)(?!\S))?\s*(?P<rest>.*)"
    ok = re.compile(r"^ok" + _rest, re.DOTALL)
    not_ok = re.compile(r"^not\s+ok" + _rest, re.DOTALL)
    # tap.py's dots match any character, and it takes any text behind the number.
    plan = re.compile(r"^1\.\.(?P<expected>[0-9]+)\s*(?:\#\s*(?P<directive>.*))?$", re.DOTALL)
    bail = re.compile(r"^Bail\ out!\s*(?P<reason>.*)", re.IGNORECASE | re.DOTALL)
    version_said = 0

    def _parse_result(self, ok: bool, match: re.Match[str], fh: Any = None) -> Line:
        description, directive = self._split(match["rest"])
        if description == "-" or description.startswith("- "):
            description = description[1:].strip()
        number = str(min(int(match["number"][:12]), _HUGE)) if match["number"] else None
        return Result(ok, number=number, description=self._unescape(description), directive=Directive(directive))

    def _parse_plan(self, match: re.Match[str]) -> Line:
        comment = (match["directive"] or "").strip()
        skip = _PLAN_SKIP.fullmatch(comment)
        # TAP 14 takes any comment behind 1..0 as the reason; before it, the word has to be there.
        said = skip[1].lstrip(": ") if skip else comment if comment and self.version_said >= 14 else None
        expected = min(int(match["expected"][:12]), _HUGE)
        return Plan(expected, Directive("" if said is None else f"SKIP {said}"))

    def _parse_version(self, match: re.Match[str]) -> Line:
        return Version(min(int(match["version"][:12]), _HUGE))

    def _split(self, rest: str) -> tuple[str, str]:
        """Description and directive; a directive is a whole word behind a `#` that stands free and is not escaped."""
        at = rest.find("#")
        while at != -1:
            before = rest[:at]
            slashes = at - len(before.rstrip("\\"))
            free = slashes or not before or before[-1].isspace()
            if free and slashes % 2 == 0 and (found := _DIRECTIVE.match(rest, at + 1)):
                return before.strip(), f"{found[1].upper()} {self._unescape(found[2].strip())}"
            at = rest.find("#", at + 1)
        return rest.strip(), ""

    def _unescape(self, text: str) -> str:
        if "\\" not in text:
            return text
        return re.sub(r"\\([#\\])", r"\1", text) if self.version_said >= 14 else text.replace("\\#", "#")


def unknown(line: Line) -> bool:
    """Whether a line is no TAP."""
    return isinstance(line, Unknown)
