"""What may go on now."""

from __future__ import annotations

from jobs.schedule import advance
from server.core.model import Push, Run
from server.core.states import Action, Cause, RunState, stages_for
from server.core.store import Store
from server.core.store_base import now


class Asked:
    """Stands in for the queue: notes what was asked for."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str, int]] = []
        self.plans: list[str] = []

    def enqueue_plan(self, push_id: str) -> bool:
        self.plans.append(push_id)
        return True

    def enqueue_run(self, phase: str, run_id: str, attempt: int) -> bool:
        self.runs.append((phase, run_id, attempt))
        return True


def add(store: Store, host: str, **values: object) -> Run:
    given = {"repo": "fleet", "host": host, "commit": "1" * 40, "cause": "push", "push": "p1", **values}
    return store.add_run(stages_for(Action.DEPLOY), **given)


def asked(store: Store) -> list[tuple[str, str, int]]:
    queue = Asked()
    advance(store, queue)  # type: ignore[arg-type]
    return queue.runs


def test_unplanned_pushes_are_asked_for(store: Store) -> None:
    store.add_push(Push("p9", "fleet", "refs/heads/main", "0" * 40, "1" * 40, "ada", now()))
    queue = Asked()
    advance(store, queue)  # type: ignore[arg-type]
    assert queue.plans == ["p9"]


def test_builds_go_at_once(store: Store) -> None:
    web, db = add(store, "web"), add(store, "db")
    assert asked(store) == [("build", web.id, 1), ("build", db.id, 1)]


def test_one_deploy_a_host(store: Store) -> None:
    first, second = add(store, "web", phase="deploy"), add(store, "web", phase="deploy", cause=Cause.REBUILD.value)
    assert asked(store) == [("deploy", first.id, 1)]
    store.claim(first.id, 1, "deploy")
    assert asked(store) == []
    assert store.run(second.id).reason == f"waits for run {first.id} to leave web"  # type: ignore[union-attr]
    store.finish_run(first.id, 1, RunState.GOOD, None)
    assert asked(store) == [("deploy", second.id, 1)]


def test_an_unknown_deploy_keeps_its_host(store: Store) -> None:
    first, _ = add(store, "web", phase="deploy"), add(store, "web", phase="deploy", cause=Cause.REBUILD.value)
    store.claim(first.id, 1, "deploy")
    store.update_run(first.id, 1, state=RunState.UNKNOWN.value)
    assert asked(store) == []


def test_a_later_wave_waits_for_the_lower_one(store: Store) -> None:
    one, two = add(store, "web", wave=1), add(store, "db", wave=2, phase="deploy")
    assert asked(store) == [("build", one.id, 1)]
    assert "waits for wave 1: web is waiting" in str(store.run(two.id).reason)  # type: ignore[union-attr]
    store.finish_run(one.id, 1, RunState.GOOD, None)
    assert asked(store) == [("deploy", two.id, 1)]


def test_a_red_wave_holds_those_behind_it(store: Store) -> None:
    one, two = add(store, "web", wave=1), add(store, "db", wave=2, phase="deploy")
    store.finish_run(one.id, 1, RunState.ROLLED_BACK, "smoke: no")
    assert asked(store) == []
    held = store.run(two.id)
    assert held is not None
    assert held.state is RunState.HELD
    assert held.reason == f"web in wave 1 ended rolled-back in run {one.id}"


def test_what_a_person_asked_for_waits_for_no_wave(store: Store) -> None:
    add(store, "web", wave=1)
    two = add(store, "db", wave=2, phase="deploy", cause=Cause.REBUILD.value)
    assert ("deploy", two.id, 1) in asked(store)
