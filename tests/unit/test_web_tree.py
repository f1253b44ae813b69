"""A stage's checks as a tree, failures first."""

from __future__ import annotations

from server.core.model import CheckRow
from server.core.states import StageName
from server.web import tree


def check(number: int, text: str, *, ok: bool = True, depth: int = 0, file: str = "a.sh") -> CheckRow:
    return CheckRow(StageName.SMOKE, file, number, ok, text, depth=depth)


def test_a_subtests_points_stand_under_the_point_that_sums_them_up() -> None:
    rows = [check(1, "inner", depth=2), check(2, "sub", depth=1), check(3, "sum"), check(4, "other")]
    first, second = tree.nest(rows)
    assert (first.check.description, second.check.description) == ("sum", "other")
    assert first.below[0].check.description == "sub"
    assert first.below[0].below[0].check.description == "inner"
    assert second.below == ()


def test_a_subtest_that_still_runs_is_shown_before_its_sum_comes() -> None:
    assert [node.check.description for node in tree.nest([check(1, "done"), check(2, "inner", depth=1)])] == [
        "done",
        "inner",
    ]


def test_files_with_failures_come_first_and_failures_first_in_them() -> None:
    rows = [check(1, "fine", file="a.sh"), check(2, "fine", file="b.sh"), check(3, "broken", ok=False, file="b.sh")]
    first, second = tree.files(rows)
    assert (first.name, second.name) == ("b.sh", "a.sh")
    assert [node.check.description for node in first.failed] == ["broken"]
    assert [node.check.description for node in first.passed] == ["fine"]


def test_ten_thousand_checks_are_counted_and_not_all_listed() -> None:
    (file,) = tree.files([check(number, f"check {number}") for number in range(10_000)])
    assert file.count == 10_000
    assert len(file.passed) == tree.SHOWN
