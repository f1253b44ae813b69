"""What a TAP document (a whole output, or one subtest) has to hold to count as evidence: plan, numbers, counts."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_PROBLEMS = 20
"""Sentences kept for one document; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """One test point as judged.

    Attributes:
        number: Its number as printed; its place where none was printed.
        ok: What it says, `not ok` with a directive included; but False where it says ok and its own subtest failed.
        description: Without the leading ` - `, escapes resolved.
        directive: `skip`, `todo` or None.
        reason: Text of the directive; None where there is none.
        diagnostics: Its YAML block and the comments behind it, as text; None where there are none.
        subtests: The points of its subtest.
        depth: 0 for a top-level point, 1 for a subtest's; not part of the JSON, which nests instead.
    """

    number: int
    ok: bool
    description: str
    directive: str | None = None
    reason: str | None = None
    diagnostics: str | None = None
    subtests: tuple[Check, ...] = ()
    depth: int = 0

    @property
    def good(self) -> bool:
        """Whether it does not fail its test: SKIP and TODO never do."""
        return self.ok or self.directive is not None

    def to_json(self) -> dict[str, object]:
        """The fields of DESIGN's `judge`."""
        return {
            "number": self.number,
            "ok": self.ok,
            "description": self.description,
            "directive": self.directive,
            "reason": self.reason,
            "diagnostics": self.diagnostics,
            "subtests": [check.to_json() for check in self.subtests],
        }

    def __str__(self) -> str:
        said = f"{'ok' if self.ok else 'not ok'} {self.number}"
        return f"{said} - {self.description}" if self.description else said


@dataclass(slots=True)
class Document:
    """One level of a TAP stream while it is read.

    Attributes:
        indent: Columns before its lines.
        depth: How many documents it lies in.
        name: Name of the subtest, as far as known.
        version: TAP version in force; from 14 on, numbers may come in any order.
        problems: Sentences that make it not ok.
        children: Subtests that wait for their closing test point.
        declared: Name from a `# Subtest` line whose subtest has not begun.
    """

    indent: int = 0
    depth: int = 0
    name: str = ""
    version: int = 0
    planned: int | None = None
    plan_at: int = 0
    skip_all: str | None = None
    count: int = 0
    last: int = 0
    highest: int = 0
    seen: set[int] = field(default_factory=set)
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    todo: int = 0
    first_failure: str = ""
    problems: list[str] = field(default_factory=list)
    more_problems: int = 0
    children: list[Document] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    declared: str | None = None

    @property
    def begun(self) -> bool:
        """Whether a plan or a point was read."""
        return self.count > 0 or self.planned is not None

    @property
    def bad(self) -> bool:
        """Whether it gives no green."""
        return self.failed > 0 or bool(self.problems)

    @property
    def title(self) -> str:
        """How messages name it."""
        return f'subtest "{self.name}"' if self.name else "a subtest"

    def say(self, sentence: str) -> None:
        """Note a problem; a flood of them is counted."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(sentence)
        else:
            self.more_problems += 1

    @property
    def told_problems(self) -> list[str]:
        """The problems, and how many more there were."""
        return [*self.problems, f"and {self.more_problems} more problems"] if self.more_problems else self.problems

    def take_plan(self, expected: int, skip: str | None, line: int) -> None:
        """Read a plan line."""
        if self.planned is not None:
            self.say(f"line {line}: a second plan, 1..{expected}, after 1..{self.planned}")
            return
        self.planned, self.plan_at = expected, self.count
        if expected == 0 and skip is not None:
            self.skip_all = skip

    def take_number(self, said: int | None, line: int) -> int:
        """Read a point's number, and return the one it goes by."""
        if self.planned is not None and self.plan_at and self.plan_at == self.count:
            self.say(f"line {line}: the plan stands in the middle: a check comes after it")
        self.count += 1
        number = said if said is not None else (self.count if self.version >= 14 else self.last + 1)
        if self.version >= 14:
            if number in self.seen:
                self.say(f"line {line}: a second check with number {number}")
            elif number < 1:
                self.say(f"line {line}: a check with number {number}; they begin at 1")
            self.seen.add(number)
        elif number != self.last + 1:
            self.say(f"line {line}: check {number} stands where number {self.last + 1} was due")
        self.last, self.highest = number, max(number, self.highest)
        return number

    def tally(self, ok: bool, directive: str | None, label: str) -> None:
        """Count a point."""
        if directive == "skip":
            self.skipped += 1
        elif directive == "todo":
            self.todo += 1
        elif ok:
            self.passed += 1
        else:
            self.failed += 1
            self.first_failure = self.first_failure or label

    def unclosed(self) -> None:
        """Tell of subtests that ended without the test point that closes them."""
        for child in self.children:
            self.say(f"{child.title} is not followed by its own test point")

    def end(self) -> None:
        """Judge plan and count, when all of it was read."""
        self.unclosed()
        self.children.clear()
        if self.planned is None:
            said = "a plan is missing" if self.count else "no TAP: neither a plan nor a check was printed"
            self.say(f"{said} (1..{self.count} was due)" if self.count else said)
        elif self.planned == 0 and self.count:
            self.say(f"the plan 1..0 says that nothing runs, and {checks(self.count)} ran")
        elif self.planned == 0 and self.skip_all is None:
            self.say("the plan 1..0 gives no `# SKIP` reason: nothing was checked")
        elif self.count != self.planned:
            word = "short" if self.count < self.planned else "long"
            self.say(f"too {word}: {checks(self.planned)} planned, {self.count} ran")
        elif self.highest > self.planned:
            self.say(f"check {self.highest} lies outside the plan 1..{self.planned}")


@dataclass(slots=True)
class Point:
    """A test point whose diagnostics may still follow."""

    home: Document
    number: int
    ok: bool
    description: str
    directive: str | None
    reason: str | None
    subtests: tuple[Check, ...]
    notes: list[str] = field(default_factory=list)
    size: int = 0
    told: bool = False

    def check(self) -> Check:
        """It as a value, with the diagnostics read so far."""
        text = "\n".join(self.notes).strip("\n") or None
        return Check(
            self.number, self.ok, self.description, self.directive, self.reason, text, self.subtests, self.home.depth
        )


def checks(number: int) -> str:
    """`1 check`, `2 checks`."""
    return "1 check" if number == 1 else f"{number} checks"
