"""A stage's checks as people read them: by file, subtests under their point, failures first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from server.core.model import CheckRow

MOST = 1000
"""Checks of a stage that a page is made of; those that failed are taken up to as many again."""
SHOWN = 200
"""Passed checks of a file that the page lists; failed ones are all listed."""


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
        total: How many top-level points passed and failed in all.
    """

    name: str
    failed: list[Node] = field(default_factory=list)
    passed: list[Node] = field(default_factory=list)
    total: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """How many top-level points it has."""
        return sum(self.total)

    @property
    def hidden(self) -> int:
        """How many are not listed, because there are too many for a page."""
        return max(0, self.count - len(self.failed) - len(self.passed))


def files(checks: Iterable[CheckRow], totals: Mapping[str, tuple[int, int]]) -> list[TestFile]:
    """The test files of a stage, those with failures first, each in the order in which it ran.

    `totals` says of each file how many top-level points passed and failed, as there may be more than `checks` holds.
    """
    grouped: dict[str, list[CheckRow]] = {}
    for check in checks:
        grouped.setdefault(check.file, []).append(check)
    for name in totals:
        grouped.setdefault(name, [])
    found = [_file(name, rows, totals.get(name, (0, 0))) for name, rows in grouped.items()]
    return sorted(found, key=lambda file: not file.total[1] and not file.failed)


def _file(name: str, rows: Sequence[CheckRow], total: tuple[int, int]) -> TestFile:
    nodes = nest(rows)
    failed = [node for node in nodes if node.failed]
    passed = [node for node in nodes if not node.failed]
    return TestFile(name, failed, passed[:SHOWN], total)


def nest(rows: Sequence[CheckRow]) -> list[Node]:
    """Subtests under their point: TAP prints a subtest's points first, and then the point that sums them up.

    Points of a subtest whose sum has not come yet (it is running, or broke off) stand at the top for now.
    """
    open_at: dict[int, list[Node]] = {}
    for row in rows:
        below = tuple(node for depth in sorted(open_at) if depth > row.depth for node in open_at.pop(depth))
        open_at.setdefault(row.depth, []).append(Node(row, below))
    return [node for depth in sorted(open_at) for node in open_at[depth]]
