"""The rule that makes a plan."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs.decide import Known, decide
from server.core.model import Host, PlanRow, Run
from server.core.states import Action, Backend, Cause, HostState, RunState

OLD, NEW, T1, T2 = "a" * 64, "b" * 64, "c" * 64, "d" * 64


def host(**values: str) -> Host:
    fields = {"identity": OLD, "tests": T1, **values}
    return Host("web", "fleet", Backend.DEBIAN, HostState.CURRENT, **fields)  # type: ignore[arg-type]


def failed_run() -> Run:
    moment = datetime.now(UTC)
    return Run("12", "fleet", "web", "0" * 40, Cause.PUSH, RunState.FAILED, moment, reason="no-internet: no")


def plan(identity: str, tests: str, known: Known, *, deploys: bool = True, again: bool = False) -> PlanRow:
    return decide("web", identity, tests, known, deploys=deploys, again=again)


def test_what_runs_already_is_left_alone() -> None:
    row = plan(OLD, T1, Known(host()))
    assert (row.action, row.changed) == (Action.NONE, False)


def test_a_changed_identity_is_deployed() -> None:
    row = plan(NEW, T1, Known(host()))
    assert (row.action, row.changed, row.identity) == (Action.DEPLOY, True, NEW)


def test_changed_tests_alone_are_run_and_nothing_is_installed() -> None:
    row = plan(OLD, T2, Known(host()))
    assert (row.action, row.changed) == (Action.TEST, False)


def test_a_host_that_toto_never_met_is_changed() -> None:
    row = plan(NEW, T1, Known(None))
    assert (row.action, row.changed) == (Action.DEPLOY, True)
    assert "not deployed web yet" in row.reason


def test_another_branch_is_rehearsed_only() -> None:
    assert plan(NEW, T1, Known(host()), deploys=False).action is Action.REHEARSE
    assert plan(OLD, T1, Known(host()), deploys=False).action is Action.NONE


def test_a_held_host_is_planned_as_held() -> None:
    row = plan(NEW, T1, Known(host(held_by="eve", held_why="queue migration")))
    assert row.action is Action.HELD
    assert "held by eve: queue migration" in row.reason


def test_a_rejected_release_is_held_until_somebody_says_again() -> None:
    known = Known(host(), rejected="by ada: it loses mail")
    assert plan(NEW, T1, known).action is Action.HELD
    assert "by ada: it loses mail" in plan(NEW, T1, known).reason
    assert plan(NEW, T1, known, again=True).action is Action.DEPLOY


def test_what_failed_in_the_vm_is_not_rehearsed_again_by_itself() -> None:
    known = Known(host(), failed=failed_run())
    row = plan(NEW, T1, known)
    assert (row.action, row.changed) == (Action.NONE, True)
    assert "run 12" in row.reason
    assert "--again" in row.reason
    assert plan(NEW, T1, known, again=True).action is Action.DEPLOY
