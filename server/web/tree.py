"""A stage's checks as people read them: by file, subtests under their point, failures first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from server.core.model import CheckRow

SHOWN = 200
"""Passed checks of a file that the page lists; failed ones are all listed, up to `FAILURES`."""
FAILURES = 500


@dataclass(frozen=True)
class Node:
    """A check with its subtests."""

    check: CheckRow
    below: tuple[Node, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it says no itself."""
        return not self.check.ok


@dataclass
class TestFile:
    """One test file's checks in a stage.

    Attributes:
        name: The file, or `stock/NAME`.
        failed: Failed points, in their order, each with all below it.
        passed: The others.
        hidden: How many are not listed, because there are too many for a page.
    """

    name: str
    failed: list[Node] = field(default_factory=list)
    passed: list[Node] = field(default_factory=list)
    hidden: int = 0

    @property
    def count(self) -> int:
        """How many top-level points it has."""
        return len(self.failed) + len(self.passed) + self.hidden


def files(checks: Iterable[CheckRow]) -> list[TestFile]:
    """The test files of a stage, those with failures first, each in the order in which it ran."""
    grouped: dict[str, list[CheckRow]] = {}
    for check in checks:
        grouped.setdefault(check.file, []).append(check)
    return sorted((_file(name, rows) for name, rows in grouped.items()), key=lambda file: not file.failed)


def _file(name: str, rows: Sequence[CheckRow]) -> TestFile:
    nodes = nest(rows)
    failed = [node for node in nodes if node.failed]
    passed = [node for node in nodes if not node.failed]
    hidden = max(0, len(failed) - FAILURES) + max(0, len(passed) - SHOWN)
    return TestFile(name, failed[:FAILURES], passed[:SHOWN], hidden)


def nest(rows: Sequence[CheckRow]) -> list[Node]:
    """Subtests under their point: TAP prints a subtest's points first, and then the point that sums them up.

    Points of a subtest whose sum has not come yet (it is running, or broke off) stand at the top for now.
    """
    open_at: dict[int, list[Node]] = {}
    for row in rows:
        below = tuple(node for depth in sorted(open_at) if depth > row.depth for node in open_at.pop(depth))
        open_at.setdefault(row.depth, []).append(Node(row, below))
    return [node for depth in sorted(open_at) for node in open_at[depth]]
