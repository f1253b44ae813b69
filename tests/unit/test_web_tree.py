"""A stage's checks as a tree, failures first."""

from __future__ import annotations

from server.core.model import CheckRow
from server.core.states import StageName
from server.core.store import Store
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
    first, second = tree.files(rows, {"a.sh": (1, 0), "b.sh": (1, 1)})
    assert (first.name, second.name) == ("b.sh", "a.sh")
    assert [node.check.description for node in first.failed] == ["broken"]
    assert [node.check.description for node in first.passed] == ["fine"]


def test_five_thousand_checks_are_counted_and_not_all_listed(store: Store) -> None:
    run = store.add_run([StageName.SMOKE], repo="home", host="web", commit="a" * 40, cause="push")
    store.start_stage(run.id, 1, StageName.SMOKE)
    rows = [check(number, f"check {number}", ok=number != 4000) for number in range(1, 5001)]
    store.add_checks(run.id, 1, rows)
    (file,) = tree.files(*store.checks_shown(run.id, StageName.SMOKE, 1000))
    assert (file.count, file.total) == (5000, (4999, 1))
    assert [node.check.number for node in file.failed] == [4000], "a failure is shown wherever it stands"
    assert len(file.passed) == tree.SHOWN
    assert file.hidden == 5000 - tree.SHOWN - 1
