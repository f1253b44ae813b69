"""The store: runs, plans, claims, generations."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from server.core.config import Config
from server.core.errors import StoreTrouble
from server.core.model import CheckRow, Generation, PlanRow, Push, Run
from server.core.states import Action, Backend, Cause, RunState, StageName, StageState, stages_for
from server.core.store import Store
from server.core.store_base import now

STAGES = stages_for(Action.DEPLOY)


def push(number: int, ref: str = "refs/heads/main") -> Push:
    return Push(f"p{number}", "fleet", ref, "0" * 40, f"{number:040x}", "ada", now(), ("toto.rehearse",))


def fields(host: str = "web", **more: object) -> dict[str, object]:
    made = {"repo": "fleet", "host": host, "commit": "1" * 40, "cause": "push", "ref": "refs/heads/main"}
    return {**made, **more}


def row(host: str, action: Action = Action.DEPLOY, *, changed: bool = True) -> PlanRow:
    return PlanRow(host, changed, action, "because", "i" * 64, "t" * 64)


def planned(store: Store, number: int, ref: str = "refs/heads/main") -> Run:
    store.add_push(push(number, ref))
    store.save_plan(f"p{number}", [(row("web"), fields(ref=ref), STAGES)])
    return store.runs(push=f"p{number}")[0]


def test_a_push_is_recorded_once_and_comes_back_whole(store: Store) -> None:
    given = push(1)
    assert store.add_push(given)
    assert not store.add_push(given)
    assert store.push("p1") == given
    assert store.pushes() == [given]
    assert store.last_push("fleet", "refs/heads/main") == given
    assert store.unplanned_pushes() == [given]


def test_pushes_page_by_key(store: Store) -> None:
    for number in range(5):
        store.add_push(push(number))
    first = store.pushes(2)
    assert [each.id for each in first] == ["p4", "p3"]
    assert [each.id for each in store.pushes(2, before="p3")] == ["p2", "p1"]


def test_a_plan_is_saved_once_with_its_runs(store: Store) -> None:
    store.add_push(push(1))
    rows = [(row("web"), fields(), STAGES), (row("db", Action.NONE, changed=False), None, ())]
    assert store.save_plan("p1", rows)
    assert not store.save_plan("p1", rows)
    assert [(each.host, each.run) for each in store.plan("p1")] == [("db", None), ("web", "1")]
    assert [run.host for run in store.runs(push="p1")] == ["web"]
    assert [stage.name for stage in store.stages("1")] == list(STAGES)
    assert store.push("p1").state == "planned"  # type: ignore[union-attr]


def test_a_newer_push_supersedes_waiting_runs_of_its_ref_only(store: Store) -> None:
    older, other = planned(store, 1), planned(store, 2, "refs/heads/try")
    running = planned(store, 3)
    assert store.run(older.id).state is RunState.SUPERSEDED  # type: ignore[union-attr]
    assert store.claim(running.id, 1, "build")
    planned(store, 4)
    assert store.run(running.id).state is RunState.RUNNING  # type: ignore[union-attr]
    assert store.run(other.id).state is RunState.WAITING  # type: ignore[union-attr]
    assert "superseded by run" in store.run(older.id).reason  # type: ignore[union-attr, operator]


def test_a_push_back_to_what_runs_supersedes_what_waits(store: Store) -> None:
    waiting = planned(store, 1)
    store.add_push(push(2))
    store.save_plan("p2", [(row("web", Action.NONE, changed=False), None, ())])
    assert store.run(waiting.id).state is RunState.SUPERSEDED  # type: ignore[union-attr]


def test_one_of_many_claims_succeeds(config: Config, store: Store) -> None:
    run = planned(store, 1)
    won: list[bool] = []

    def claim() -> None:
        mine = Store(config)
        won.append(mine.claim(run.id, 1, "build"))
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]


def test_an_older_attempt_changes_nothing(store: Store) -> None:
    run = planned(store, 1)
    store.claim(run.id, 1, "build")
    assert store.again(run.id, 1, "its worker died")
    assert not store.finish_run(run.id, 1, RunState.GOOD, None)
    assert not store.update_run(run.id, 1, release="r")
    assert store.run(run.id).state is RunState.WAITING  # type: ignore[union-attr]
    assert store.claim(run.id, 2, "build")
    assert store.finish_run(run.id, 2, RunState.GOOD, None)
    assert not store.finish_run(run.id, 2, RunState.FAILED, "too late")
    assert store.run(run.id).state is RunState.GOOD  # type: ignore[union-attr]


def test_stages_checks_and_counts(store: Store) -> None:
    run = planned(store, 1)
    store.start_stage(run.id, 1, StageName.NO_INTERNET)
    made = [
        CheckRow(StageName.NO_INTERNET, "10.sh", 1, True, "is up"),
        CheckRow(StageName.NO_INTERNET, "10.sh", 1, False, "inner", depth=1),
        CheckRow(StageName.NO_INTERNET, "10.sh", 2, False, "answers", diagnostics="got: 500"),
        CheckRow(StageName.NO_INTERNET, "10.sh", 3, True, "later", directive="skip", reason="no IPv6"),
        CheckRow(StageName.NO_INTERNET, "10.sh", 4, True, "some day", directive="todo"),
    ]
    store.add_checks(run.id, 1, made)
    store.finish_stage(run.id, 1, StageName.NO_INTERNET, StageState.FAILED, "no")
    stage = next(stage for stage in store.stages(run.id) if stage.name is StageName.NO_INTERNET)
    assert (stage.counts.passed, stage.counts.failed, stage.counts.skipped, stage.counts.todo) == (1, 1, 1, 1)
    assert stage.state is StageState.FAILED
    assert store.checks(run.id) == made
    assert [check.number for check in store.checks(run.id, failed=True)] == [1, 2]
    store.start_stage(run.id, 1, StageName.NO_INTERNET)
    assert store.checks(run.id) == []


def test_what_never_began_is_skipped_at_the_end(store: Store) -> None:
    run = planned(store, 1)
    store.claim(run.id, 1, "build")
    store.finish_run(run.id, 1, RunState.FAILED, "no")
    assert {stage.state for stage in store.stages(run.id)} == {StageState.SKIPPED}


def test_cancel_ends_what_waits_and_asks_what_runs(store: Store) -> None:
    waiting = planned(store, 1)
    assert store.request_cancel(waiting.id)
    assert store.run(waiting.id).state is RunState.CANCELLED  # type: ignore[union-attr]
    assert not store.request_cancel(waiting.id)
    running = planned(store, 2)
    store.claim(running.id, 1, "build")
    assert store.request_cancel(running.id)
    assert store.run(running.id).state is RunState.RUNNING  # type: ignore[union-attr]
    assert store.cancelled(running.id)


def test_generations_are_never_numbered_twice(store: Store) -> None:
    assert store.next_generation("web") == 1
    for number, state in ((0, "good"), (1, "good"), (2, "bad"), (3, "good")):
        store.put_generation(Generation("web", number, f"r{number}", None, None, state, now()))
    assert store.next_generation("web") == 4
    before = store.good_before("web", 3)
    assert before is not None
    assert before.number == 1
    assert [each.number for each in store.generations("web")] == [3, 2, 1, 0]


def test_rejections_speak_of_an_identity_until_it_proves_itself(store: Store) -> None:
    store.reject("web", "r1", "i1", "ada", "it loses mail")
    found = store.rejected("web", "i1")
    assert found is not None
    assert (found["who"], found["why"]) == ("ada", "it loses mail")
    assert store.rejected("db", "i1") is None
    store.accept("web", "r1")
    assert store.rejected("web", "i1") is None


def test_the_newest_lock_of_an_identity_is_in_force(store: Store) -> None:
    assert store.lock("web", "i") is None
    store.add_lock("web", "i", "d1", "one")
    store.add_lock("web", "i", "d2", "two")
    assert store.lock("web", "i") == "two"


def test_hosts_are_entered_and_changed(store: Store) -> None:
    store.put_host("web", "fleet", Backend.DEBIAN, wanted="i", tags=["edge"])
    store.put_host("web", "fleet", Backend.DEBIAN, wanted="j")
    host = store.host("web")
    assert host is not None
    assert (host.state, host.wanted, host.tags) == ("new", "j", ("edge",))


def test_the_last_failed_rehearsal_of_an_identity(store: Store) -> None:
    run = planned(store, 1)
    store.update_run(run.id, 1, identity="i", tests="t")
    assert store.last_rehearsal_failure("web", "i", "t") is None
    store.finish_run(run.id, 1, RunState.FAILED, "no-internet: no")
    found = store.last_rehearsal_failure("web", "i", "t")
    assert found is not None
    assert found.id == run.id
    assert store.last_rehearsal_failure("web", "i", "other tests") is None
    better = store.add_run(STAGES, **fields(identity="i", tests="t", cause=Cause.RETRY.value))
    store.finish_run(better.id, 1, RunState.GOOD, None)
    assert store.last_rehearsal_failure("web", "i", "t") is None


def test_acts_and_people(store: Store) -> None:
    store.add_act("ada", "hold", "web", "queue migration", since=1)
    act = store.acts()[0]
    assert (act.actor, act.act, act.subject, act.reason, act.detail) == (
        "ada",
        "hold",
        "web",
        "queue migration",
        {"since": 1},
    )
    store.set_user("ada", "hash", "administrator")
    store.set_user("ada", "hash2", "administrator")
    assert store.users() == ["ada"]


def test_a_newer_database_is_refused_untouched(config: Config) -> None:
    Store(config).close()
    with sqlite3.connect(config.data / "toto.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (config.data / "toto.db").read_bytes()
    with pytest.raises(StoreTrouble, match="newer than this toto"):
        Store(config)
    assert (config.data / "toto.db").read_bytes() == before


def test_a_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "toto.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreTrouble, match="cannot be opened"):
        Store(Config(data=tmp_path))


def test_the_first_migration_makes_what_the_tables_say(config: Config) -> None:
    """A database that Alembic brought up is the same as one made at once."""
    from alembic import command
    from alembic.config import Config as AlembicConfig
    from sqlalchemy import inspect

    from server.core.database import MIGRATIONS, engine_for
    from server.core.tables import metadata

    engine = engine_for(config.database_url)
    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    Store(config).close()
