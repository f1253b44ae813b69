"""Judges a TAP output (versions 12, 13, 14) as it comes. Never ok without positive evidence.

The line grammar is `tap_lines` (on tap.py), the rules of plans and numbers `tap_document`; here they meet the stream:
subtests, diagnostics, bail-out, exit code, time-out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from host_tests.tap_document import MAX_PROBLEMS, Check, Document, Point
from host_tests.tap_lines import LINE_LIMIT, TapLines, clean
from host_tests.verdict import Verdict, ended_early, exit_problem
from host_tests.yaml_block import SUSPECT, Block, yaml_fault

__all__ = ["Check", "Judge", "Verdict", "judge"]

MAX_CHECKS = 250_000
"""Test points of one output, nested ones included, that are judged; more fail it."""
MAX_DEPTH = 32
"""Levels of subtests."""
DIAGNOSTICS = 64 * 1024
"""Characters of diagnostics kept for one check."""
ALL_DIAGNOSTICS = 16 * 1024 * 1024
"""Characters of diagnostics kept for one output."""

# Only such lines can mean anything outside a YAML block: a flood of others is passed over at the speed of `re`.
_CANDIDATE = re.compile(
    rb"^[ \t]*(?:ok|not|1\.\.|\#|bail|TAP|pragma|---|\x1b|\xef\xbb\xbf|[\x00-\x08])[^\n]*", re.MULTILINE | re.IGNORECASE
)
_SUBTEST = re.compile(r"#\s*Subtest(?:(?::\s*|\s+-\s+)(?P<name>.*))?$")
_NOT_CLOSED = "it does not end with `...`"
_PRAGMA = re.compile(r"pragma\s+([+-])([\w-]+)$")


def judge(data: bytes, exit_code: int = 0) -> Verdict:
    """The verdict on a whole output and its exit code."""
    reader = Judge()
    reader.feed(data)
    return reader.finish(exit_code)


class Judge:
    """Reads an output piece by piece and judges it.

    `on_check` is called once for each point, as soon as it is certain: when the line after its diagnostics is read, or
    at `settle`, which a caller calls when output pauses. A nested point comes before the point that closes its subtest,
    as it is printed, and is told by `Check.depth` (0 is top level); the closing point carries it again in `subtests`.
    """

    def __init__(self, on_check: Callable[[Check], None] | None = None) -> None:
        self._on_check = on_check
        self._parser = TapLines()
        self._stack = [Document()]
        self._open: Point | None = None
        self._block: Block | None = None
        self._partial = bytearray()
        self._long = False
        self._line = 0
        self._points = 0
        self._diagnostics = 0
        self._strict = False
        self._bail: str | None = None
        self._remarks: list[str] = []
        self._too_deep = False

    # Reading bytes

    def feed(self, data: bytes) -> None:
        """Read the next piece; it may end anywhere, in the middle of a character too."""
        start = 0
        if self._partial or self._long:
            end = data.find(b"\n")
            if end < 0:
                self._keep(data)
                return
            self._keep(data[:end])
            self._flush()
            start = end + 1
        stop = data.rfind(b"\n") + 1
        if stop > start:
            self._read_lines(data, start, stop)
        self._keep(data[max(stop, start) :])

    def _keep(self, data: bytes) -> None:
        room = LINE_LIMIT - len(self._partial)
        self._partial += data[:room]
        self._long = self._long or len(data) > room

    def _flush(self) -> None:
        """Read the line that came in pieces."""
        raw, cut = bytes(self._partial), self._long
        self._partial.clear()
        self._long = False
        self._line += 1
        if self._each_line or _CANDIDATE.match(raw):
            self._read(raw, cut)

    @property
    def _each_line(self) -> bool:
        return self._block is not None or self._strict

    def _read_lines(self, data: bytes, start: int, stop: int) -> None:
        at = counted = start
        before = self._line
        while at < stop:
            if self._each_line:
                begin, end = at, data.index(b"\n", at, stop)
            else:
                found = _CANDIDATE.search(data, at, stop)
                if found is None:
                    break
                begin, end = found.span()
            before += data.count(b"\n", counted, begin)
            counted, self._line = begin, before + 1
            self._read(data[begin : min(end, begin + LINE_LIMIT)], end - begin > LINE_LIMIT)
            at = end + 1
        self._line = before + data.count(b"\n", counted, stop)

    # Reading lines

    def _read(self, raw: bytes, cut: bool) -> None:
        text = clean(raw)
        body = text.lstrip(" \t")
        indent = len(text[: len(text) - len(body)].expandtabs(4))
        if self._block is not None and self._in_block(text, body, indent):
            return
        if not body:
            return
        if body == "---" and self._open is not None and indent > self._open.home.indent:
            self._block = Block(indent, self._line)
            return
        line = self._parser.parse_line(body)
        match line.category:
            case "test":
                self._point(line, indent)
            case "diagnostic":
                self._comment(body, indent)
            case "plan":
                self._plan(line, indent)
            case "bail":
                self._seal()
                self._bail = line.reason if self._bail is None else self._bail
            case "version":
                self._version(line.version, indent)
            case _:
                self._other(body)
                return
        if cut:
            self._remark(f"line {self._line} is longer than {LINE_LIMIT // 1024} KiB and was cut there")

    def _other(self, body: str) -> None:
        if found := _PRAGMA.match(body):
            if found[2] == "strict":
                self._strict = found[1] == "+"
        elif self._strict:
            self._problem(f"line {self._line}: no TAP, after `pragma +strict`: {body[:80]}")

    def _version(self, version: int, indent: int) -> None:
        self._seal()
        if version > 14 or version < 1:
            self._problem(f"line {self._line}: TAP version {version} is not known; 12, 13 and 14 are")
        if indent:
            self._enter(indent, certain=True)
            return
        root = self._stack[0]
        if len(self._stack) > 1 or root.begun or self._parser.version_said:
            self._problem(f"line {self._line}: a version line belongs before everything else, once")
            return
        self._parser.version_said = root.version = version

    def _plan(self, line: object, indent: int) -> None:
        self._seal()
        if home := self._enter(indent, certain=True):
            skip = (line.directive.reason or "") if line.directive.skip else None  # type: ignore[attr-defined]
            home.take_plan(line.expected_tests, skip, self._line)  # type: ignore[attr-defined]

    def _comment(self, body: str, indent: int) -> None:
        if found := _SUBTEST.match(body):
            self._seal()
            self._announce((found["name"] or "").strip(), indent)
            return
        if self._open is not None:
            self._add(body.lstrip("#").removeprefix(" "))

    def _announce(self, name: str, indent: int) -> None:
        """Read `# Subtest: name`: it stands at its parent's indentation (TAP 14) or at its own (older Test::More)."""
        while self._stack[-1].indent > indent:
            self._close()
        top = self._stack[-1]
        if indent == top.indent:
            top.declared = name
            return
        inside = top.declared is not None
        if level := self._enter(indent, certain=True):
            if inside:
                level.declared = name
            else:
                level.name = name

    def _point(self, line: object, indent: int) -> None:
        self._seal()
        said, ok = line.number, line.ok  # type: ignore[attr-defined]
        home = self._enter(indent, certain=said is not None or not ok)
        if home is None:
            return
        if self._points >= MAX_CHECKS:
            if self._points == MAX_CHECKS:
                self._points += 1
                self._problem(f"more than {MAX_CHECKS} checks; only so many are judged")
            return
        self._points += 1
        directive = "skip" if line.skip else "todo" if line.todo else None  # type: ignore[attr-defined]
        reason = line.directive.reason or None  # type: ignore[attr-defined]
        description = line.description  # type: ignore[attr-defined]
        number = home.take_number(said, self._line)
        label = f"check {number}" + (f' "{description}"' if description else "")
        children, home.children, home.declared = home.children, [], None
        if children and not self._subtests_agree(home, children, ok, directive, label):
            ok = False
        nested = tuple(check for child in children for check in child.checks)
        home.tally(ok, directive, label)
        self._open = Point(home, number, ok, description, directive, reason, nested)

    def _subtests_agree(
        self, home: Document, children: list[Document], ok: bool, directive: str | None, label: str
    ) -> bool:
        """Hand up what is wrong with subtests whose closing point was read; False where it says ok against them."""
        bad = [child for child in children if child.bad]
        if not bad or directive:
            return True
        for child in bad:
            if ok:
                why = child.first_failure or child.problems[0]
                home.say(f"line {self._line}: {label} says ok, but its subtest did not pass: {why}")
            for problem in child.told_problems:
                home.say(f"{child.title}: {problem}")
        return not ok

    # Levels

    def _enter(self, indent: int, *, certain: bool) -> Document | None:
        """The document that a line of this indentation belongs to; None where the line is only indented text.

        Indented TAP opens a subtest where a `# Subtest` line announced one, or where the line can be nothing else.
        """
        if indent < self._stack[-1].indent:
            # An indented word in a log, shallower than the subtest it stands in, ends nothing.
            if not certain and all(level.indent != indent for level in self._stack):
                return None
            while self._stack[-1].indent > indent:
                self._close()
        top = self._stack[-1]
        if indent == top.indent:
            return top
        if not certain and top.declared is None:
            return None
        if len(self._stack) > MAX_DEPTH:
            if not self._too_deep:
                self._problem(f"line {self._line}: subtests deeper than {MAX_DEPTH} levels")
            self._too_deep = True
            return None
        top.unclosed()
        self._stack.append(Document(indent, top.depth + 1, top.declared or "", top.version))
        top.declared = None
        return self._stack[-1]

    def _close(self) -> None:
        """End the innermost subtest; its parent's next point is to close it."""
        level = self._stack.pop()
        level.end()
        self._stack[-1].children.append(level)

    # Diagnostics

    def _add(self, text: str) -> None:
        point = self._open
        if point is None:
            return
        if point.size > DIAGNOSTICS or self._diagnostics > ALL_DIAGNOSTICS:
            return
        point.size += len(text) + 1
        self._diagnostics += len(text) + 1
        full = point.size > DIAGNOSTICS or self._diagnostics > ALL_DIAGNOSTICS
        point.notes.append("… (more was printed: see the log)" if full else text)

    def _in_block(self, text: str, body: str, indent: int) -> bool:
        """Read a line of a YAML block; False where the block ended without its `...` and the line is another's."""
        block = self._block
        assert block is not None  # noqa: S101 - asked for inside a block only
        if body and indent < block.indent:
            self._end_block(_NOT_CLOSED)
            return False
        block.suspect = block.suspect or bool(SUSPECT.match(body))
        if body == "..." and indent == block.indent:
            self._end_block(None)
        elif block.size <= DIAGNOSTICS:
            block.size += len(text) + 1
            block.lines.append(text[block.indent :])
        return True

    def _end_block(self, fault: str | None) -> None:
        block, self._block = self._block, None
        assert block is not None  # noqa: S101 - asked for inside a block only
        text = "\n".join(block.lines) + "\n"
        whole = block.size <= DIAGNOSTICS
        if (fault := fault or (yaml_fault(text) if whole else None)) is not None:
            self._remark(f"line {block.line}: malformed YAML block: {fault}")
        if fault == _NOT_CLOSED and block.suspect:
            self._problem(f"line {block.line}: a YAML block that is not closed holds what looks like a failure")
        for line in block.lines:
            self._add(line)

    def settle(self) -> None:
        """Tell the last point now, with the diagnostics read so far: nothing more has come for a while."""
        if self._open is not None and not self._open.told and self._block is None:
            self._open.told = True
            self._tell(self._open.check())

    def _seal(self) -> None:
        """The last point is complete."""
        if self._open is None:
            return
        point, self._open = self._open, None
        check = point.check()
        point.home.checks.append(check)
        if not point.told:
            self._tell(check)

    def _tell(self, check: Check) -> None:
        if self._on_check is not None:
            self._on_check(check)

    def _problem(self, sentence: str) -> None:
        self._stack[0].say(sentence)

    def _remark(self, sentence: str) -> None:
        """A problem that does not make the output fail."""
        if len(self._remarks) < MAX_PROBLEMS:
            self._remarks.append(sentence)

    # The end

    def finish(self, exit_code: int | None = 0, timed_out: bool = False, output_cut: bool = False) -> Verdict:
        """Judge all that was read.

        Args:
            exit_code: How the test ended; 128+N or -N for signal N; None where nobody saw its end.
            timed_out: It was killed for taking too long.
            output_cut: It printed more than it may, and was killed.
        """
        if self._partial or self._long:
            self._flush()
        if self._block is not None:
            self._end_block(_NOT_CLOSED)
        self._seal()
        root = self._stack[0]
        ended = ended_early(self._bail, exit_code, timed_out, output_cut, root)
        while len(self._stack) > 1:
            self._close()
        if not ended:
            root.end()
        else:
            for child in root.children:
                if child.failed:
                    root.say(f"{child.title} had not ended when {child.first_failure} failed")
        root.problems[:0] = ended
        if self._bail is None and not timed_out and not output_cut and (said := exit_problem(exit_code, root)):
            root.say(said)
        return Verdict(
            ok=not root.bad,
            planned=root.planned,
            passed=root.passed,
            failed=root.failed,
            skipped=root.skipped,
            todo=root.todo,
            bailed_out=self._bail is not None,
            problems=(*root.told_problems, *self._remarks),
            checks=tuple(root.checks),
            bail_out_reason=self._bail or None,
            skip_all=root.skip_all,
        )
