"""How runs end, whatever happens at each stage. Image, VM and target are stood in for; their tests are real."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.backend import ActivationFailed, Facts, Preview, Record, RollbackFailed
from jobs import build, pipeline
from jobs.job import Job, gather
from jobs.plan import plan_push
from server.core import acts, releases
from server.core.acts import Context
from server.core.config import Config
from server.core.errors import BuildRefused, ChecksFailed, TargetTrouble, TotoError, Unknown, VmTrouble
from server.core.events import Events
from server.core.model import Host, Run
from server.core.queue import Queue
from server.core.states import Force, HostState, RunState, StageName, StageState
from server.core.store import Store
from tests.unit.test_plan import Fleet


@dataclass
class World:
    """What goes wrong where: errors by the name of a step; and what was done, in order."""

    faults: dict[str, Exception] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    record: Record = field(default_factory=lambda: Record("none"))

    def step(self, name: str) -> None:
        self.done.append(name)
        if name in self.faults:
            raise self.faults[name]


class FakeTarget:
    """A machine that does what it is told."""

    def __init__(self, world: World) -> None:
        self.world = world

    def facts(self) -> Facts:
        self.world.step("facts")
        moment = "0" * 8
        return Facts(
            "web", "bookworm", "amd64", 9**12, 9**12, "none", 0, None, None, None, None, moment, 1.0, 0.0, False, 1
        )

    def send(self, *_: object) -> None:
        self.world.step("send")

    def preflight(self, *_: object, **__: object) -> Preview:
        self.world.step("preflight")
        return Preview(())

    def activate(self, *_: object) -> None:
        self.world.step("activate")

    def run_tests(self, _run: str, stage: StageName, *_: object, **__: object) -> None:
        self.world.step(stage.value)

    def confirm(self, *_: object) -> None:
        self.world.step("confirm")

    def undo(self, *_: object) -> None:
        self.world.step("undo")

    def record(self, _run: str) -> Record:
        self.world.step("record")
        return self.world.record

    def drift(self) -> tuple[str, ...]:
        return ()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    def release(job: Job, _log: object) -> Any:
        made.step("build")
        definition = job.definition
        found = SimpleNamespace(id=f"r-{definition.identity[:8]}", path=Path("/nowhere"), identity=definition.identity)
        job.store.update_run(
            job.run.id, job.run.attempt, release=found.id, identity=found.identity, tests=job.suite.digest
        )
        return found

    def opened(_config: object, release_id: str) -> Any:
        return SimpleNamespace(id=release_id, path=Path("/nowhere"))

    @contextlib.contextmanager
    def machine(*_: object) -> Iterator[str]:
        made.step("machine")
        yield "vm"
        made.done.append("machine gone")

    monkeypatch.setattr(build, "release", release)
    monkeypatch.setattr(build, "image", lambda *_: made.step("image") or "image")
    monkeypatch.setattr(releases, "open", opened)
    monkeypatch.setattr(pipeline, "machine", machine)
    for name in ("boot", "no_internet", "with_internet", "upgrade"):
        monkeypatch.setattr(pipeline.rehearse, name, _stage(made, name.replace("_", "-")))
    monkeypatch.setattr(pipeline, "backend", lambda *_: FakeTarget(made))
    return made


def _stage(world: World, name: str) -> Callable[..., None]:
    return lambda *_: world.step(name)


@pytest.fixture
def fleet(config: Config, store: Store, tmp_path: Path, world: World) -> Fleet:
    return Fleet(config, store, tmp_path / "checkout")


def work(fleet: Fleet, run: Run) -> Run:
    """Carry a run to its end, as the workers do."""
    store = fleet.store
    for phase, story in (("build", pipeline.rehearse_run), ("deploy", pipeline.deploy_run)):
        now = store.run(run.id)
        assert now is not None
        if now.state is RunState.WAITING and now.phase == phase:
            assert store.claim(run.id, now.attempt, phase)
            claimed = store.run(run.id)
            assert claimed is not None
            with contextlib.suppress(ZeroDivisionError):
                story(gather(fleet.config, store, Events(fleet.config), claimed))
    ended = store.run(run.id)
    assert ended is not None
    return ended


def pushed(fleet: Fleet, text: str | None = None) -> Run:
    """The run of a push that changes web."""
    if text is not None:
        fleet.edit("files/web/index.html", "</p>", f"</p>{text}")
    push = fleet.push()
    return next(run for run in fleet.store.runs(push=push.id) if run.host == "web")


def stages(fleet: Fleet, run: Run) -> dict[str, StageState]:
    return {stage.name.value: stage.state for stage in fleet.store.stages(run.id)}


def web(fleet: Fleet) -> Host:
    host = fleet.store.host("web")
    assert host is not None
    return host


def ctx(fleet: Fleet) -> Context:
    return Context(fleet.config, fleet.store, Queue(fleet.config), "eve")


def test_a_first_push_becomes_generation_one(fleet: Fleet, world: World) -> None:
    run = work(fleet, pushed(fleet))
    assert (run.state, run.generation, run.reason) == (RunState.GOOD, 1, None)
    assert world.done == [
        "build", "image", "machine", "boot", "no-internet", "with-internet", "machine gone",
        "facts", "send", "preflight", "activate", "smoke", "confirm", "post-switch",
    ]  # fmt: skip
    assert stages(fleet, run)["upgrade"] is StageState.SKIPPED
    host = web(fleet)
    assert (host.generation, host.last_good, host.state, host.identity) == (1, 1, HostState.CURRENT, run.identity)
    assert [each.number for each in fleet.store.generations("web")] == [1, 0]


def test_a_second_release_is_rehearsed_back_and_forth(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    run = work(fleet, pushed(fleet, "two"))
    assert (run.state, run.generation) == (RunState.GOOD, 2)
    assert "upgrade" in world.done


@pytest.mark.parametrize("step", ["build", "image", "boot", "no-internet", "with-internet"])
@pytest.mark.parametrize(
    ("fault", "state"),
    [(ChecksFailed("no"), RunState.FAILED), (BuildRefused("no"), RunState.FAILED), (VmTrouble("?"), RunState.ERROR)],
)
def test_what_breaks_before_the_target_leaves_it_alone(
    fleet: Fleet, world: World, step: str, fault: TotoError, state: RunState
) -> None:
    world.faults[step] = fault
    run = work(fleet, pushed(fleet))
    assert run.state is state
    assert str(run.reason).endswith(str(fault))
    assert "facts" not in world.done
    assert web(fleet).generation is None


@pytest.mark.parametrize("step", ["facts", "send", "preflight"])
def test_a_target_that_is_not_fit_is_an_error_and_untouched(fleet: Fleet, world: World, step: str) -> None:
    world.faults[step] = TargetTrouble("it is down", where="web", mend="start it")
    run = work(fleet, pushed(fleet))
    assert run.state is RunState.ERROR
    assert run.reason == "test: web: it is down; start it"
    assert "undo" not in world.done
    assert web(fleet).state is HostState.NEW


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("activate", ActivationFailed("apt says no")),
        ("smoke", ChecksFailed("10-http.sh: not ok 1")),
        ("smoke", TargetTrouble("the connection was lost")),
        ("confirm", ActivationFailed("the dead-man was first")),
        ("post-switch", ChecksFailed("10-page.sh: not ok 1")),
    ],
)
def test_what_breaks_on_the_target_goes_the_whole_way_back(
    fleet: Fleet, world: World, step: str, fault: TotoError
) -> None:
    work(fleet, pushed(fleet))
    world.faults[step], world.done = fault, []
    run = work(fleet, pushed(fleet, "two"))
    assert run.state is RunState.ROLLED_BACK
    assert str(fault) in str(run.reason)
    assert world.done[-4:] == ["undo", "record", "facts", "rollback-check"]
    host = web(fleet)
    assert (host.generation, host.last_good, host.state) == (1, 1, HostState.BEHIND)
    assert [(each.number, each.state) for each in fleet.store.generations("web")] == [
        (2, "bad"),
        (1, "good"),
        (0, "good"),
    ]


def test_a_release_that_failed_on_its_host_is_held_at_the_next_push(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.faults["post-switch"] = ChecksFailed("no")
    work(fleet, pushed(fleet, "two"))
    fleet.edit("README.md", "# An example fleet", "# The example fleet")
    run = pushed(fleet)
    assert run.state is RunState.HELD
    assert "by toto: post-switch: no" in str(run.reason)


def test_a_rollback_that_fails_is_never_told_as_done(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.faults = {"smoke": ChecksFailed("no"), "undo": RollbackFailed("not as before")}
    run = work(fleet, pushed(fleet, "two"))
    assert run.state is RunState.ROLLBACK_FAILED
    assert "the rollback failed: not as before" in str(run.reason)
    assert web(fleet).state is HostState.UNKNOWN


def test_a_rollback_that_is_not_good_again_is_a_failed_rollback(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.faults = {"smoke": ChecksFailed("no"), "rollback-check": ChecksFailed("still no")}
    assert work(fleet, pushed(fleet, "two")).state is RunState.ROLLBACK_FAILED


def test_a_target_that_falls_silent_is_unknown_until_its_record_is_read(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.faults["activate"] = Unknown("it fell silent")
    run = work(fleet, pushed(fleet, "two"))
    assert (run.state, web(fleet).state) == (RunState.UNKNOWN, HostState.UNKNOWN)
    world.faults, world.done = {"record": TargetTrouble("it is down")}, []
    fleet.store.again(run.id, run.attempt, "asks the target")
    run = work(fleet, run)
    assert run.state is RunState.UNKNOWN  # still no evidence
    world.faults, world.record = {}, Record("rolled-back", "why=deadman")
    fleet.store.again(run.id, run.attempt, "asks the target")
    run = work(fleet, run)
    assert run.state is RunState.ROLLED_BACK
    assert "rolled-back why=deadman" in str(run.reason)
    assert web(fleet).state is HostState.BEHIND


def test_a_deploy_whose_worker_died_after_the_switch_is_proved_not_repeated(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.faults["confirm"] = Unknown("the worker died here")
    run = work(fleet, pushed(fleet, "two"))
    world.faults, world.done, world.record = {}, [], Record("confirmed")
    fleet.store.again(run.id, run.attempt, "its worker died")
    run = work(fleet, run)
    assert (run.state, run.generation) == (RunState.GOOD, 2)
    assert world.done == ["record", "post-switch"]


def test_a_deploy_that_had_not_begun_simply_happens_after_its_worker_died(fleet: Fleet, world: World) -> None:
    run = pushed(fleet)
    store = fleet.store
    store.claim(run.id, 1, "build")
    pipeline.rehearse_run(gather(fleet.config, store, Events(fleet.config), store.run(run.id)))  # type: ignore[arg-type]
    store.claim(run.id, 1, "deploy")
    store.again(run.id, 1, "its worker died")
    assert work(fleet, run).state is RunState.GOOD


def test_only_changed_tests_install_nothing_and_failing_ones_fail(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    fleet.edit("host_tests/web/smoke/10-http.sh", "nginx runs", "nginx is there")
    world.done = []
    run = work(fleet, pushed(fleet))
    assert run.state is RunState.GOOD
    assert (run.generation, web(fleet).generation) == (1, 1)
    assert not {"preflight", "activate", "confirm"} & set(world.done)
    assert world.done[-2:] == ["smoke", "post-switch"]
    fleet.edit("host_tests/web/smoke/10-http.sh", "nginx is there", "nginx is here")
    world.faults["smoke"] = ChecksFailed("no")
    assert work(fleet, pushed(fleet)).state is RunState.FAILED
    assert "undo" not in world.done


def test_rebuild_of_an_unchanged_host_makes_no_generation(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.done = []
    run = work(fleet, acts.rebuild(ctx(fleet), "web"))
    assert (run.state, run.generation, web(fleet).generation) == (RunState.GOOD, 1, 1)
    assert "boot" in world.done
    assert not {"preflight", "activate"} & set(world.done)
    assert stages(fleet, run)["test"] is StageState.SKIPPED


def test_rollback_by_hand_rejects_holds_and_keeps_the_old_number(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    left = work(fleet, pushed(fleet, "two"))
    run = work(fleet, acts.rollback(ctx(fleet), "web", why="users complain"))
    assert (run.state, run.generation) == (RunState.GOOD, 1)
    host = web(fleet)
    assert (host.generation, host.last_good, host.state, host.held_by) == (1, 1, HostState.HELD, "eve")
    rejected = fleet.store.rejected("web", left.identity or "")
    assert rejected is not None
    assert rejected["why"] == "users complain"
    acts.unhold(ctx(fleet), "web")
    fleet.edit("README.md", "# An example fleet", "# The example fleet")
    assert pushed(fleet).state is RunState.HELD


def test_a_rollback_by_hand_that_cannot_be_done_says_so(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    work(fleet, pushed(fleet, "two"))
    world.faults["activate"] = ActivationFailed("apt says no")
    run = work(fleet, acts.rollback(ctx(fleet), "web"))
    assert run.state is RunState.ROLLBACK_FAILED
    assert web(fleet).generation == 2


def test_verify_changes_nothing(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.done = []
    assert work(fleet, acts.verify(ctx(fleet), "web")).state is RunState.GOOD
    assert world.done == ["smoke", "post-switch"]


def test_a_held_host_is_rehearsed_and_not_activated(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    acts.hold(ctx(fleet), "web", "migration")
    world.done = []
    run = work(fleet, pushed(fleet, "two"))
    assert run.state is RunState.HELD
    assert "with-internet" in world.done
    assert "facts" not in world.done


def test_a_hold_that_comes_during_the_rehearsal_counts(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    run = pushed(fleet, "two")
    fleet.store.claim(run.id, 1, "build")
    pipeline.rehearse_run(gather(fleet.config, fleet.store, Events(fleet.config), fleet.store.run(run.id)))  # type: ignore[arg-type]
    acts.hold(ctx(fleet), "web", "migration")
    assert work(fleet, run).state is RunState.HELD


def test_what_a_newer_push_took_back_is_not_deployed(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    run = pushed(fleet, "two")
    fleet.store.claim(run.id, 1, "build")
    fleet.edit("files/web/index.html", "</p>two", "</p>")
    fleet.push()  # back to what runs, while the other is being rehearsed
    fleet.store.update_run(run.id, 1, state=RunState.WAITING.value)
    assert work(fleet, run).state is RunState.SUPERSEDED
    assert web(fleet).generation == 1


def test_another_branch_ends_rehearsed(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    fleet.edit("files/web/index.html", "</p>", "</p>try")
    push = fleet.push(ref="refs/heads/try")
    run = work(fleet, fleet.store.runs(push=push.id)[0])
    assert run.state is RunState.REHEARSED
    assert web(fleet).generation == 1


def test_forcing_is_written_beside_what_it_skipped(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    world.done = []
    fleet.edit("files/web/index.html", "</p>", "</p>two")
    fleet.push("toto.plan")
    run = work(fleet, acts.rebuild(ctx(fleet), "web", forces=(Force.UNREHEARSED,), why="the house burns"))
    assert run.state is RunState.GOOD
    assert not {"image", "machine", "boot"} & set(world.done)
    boot = next(stage for stage in fleet.store.stages(run.id) if stage.name is StageName.BOOT)
    assert boot.reason == "forced by eve (--unrehearsed): the house burns"


def test_one_way_skips_the_way_back_only(fleet: Fleet, world: World) -> None:
    work(fleet, pushed(fleet))
    fleet.edit("files/web/index.html", "</p>", "</p>two")
    fleet.push("toto.plan")
    world.done = []
    run = work(fleet, acts.rebuild(ctx(fleet), "web", forces=(Force.ONE_WAY,), why="a new database format"))
    assert run.state is RunState.GOOD
    assert "no-internet" in world.done
    assert "upgrade" not in world.done


def test_a_fault_of_our_own_is_an_error_not_a_verdict(fleet: Fleet, world: World) -> None:
    world.faults["boot"] = ZeroDivisionError("ours")
    run = work(fleet, pushed(fleet))
    assert run.state is RunState.ERROR
    assert "toto itself broke" in str(run.reason)


def test_a_run_that_finds_nothing_to_do_is_a_no_op(fleet: Fleet, world: World) -> None:
    first = pushed(fleet)
    fleet.edit("README.md", "# An example fleet", "# The example fleet")
    fleet.store.claim(first.id, 1, "build")  # so that the second push does not supersede it
    second = pushed(fleet)
    pipeline.rehearse_run(gather(fleet.config, fleet.store, Events(fleet.config), fleet.store.run(first.id)))  # type: ignore[arg-type]
    assert work(fleet, first).state is RunState.GOOD
    assert work(fleet, second).state is RunState.NO_OP


def test_planning_twice_is_planning_once(fleet: Fleet, world: World) -> None:
    run = pushed(fleet)
    assert plan_push(fleet.store, Events(fleet.config), run.push or "") == []


def test_no_scratch_of_a_run_is_left(fleet: Fleet, world: World) -> None:
    run = work(fleet, pushed(fleet))
    assert not list(fleet.config.folder("tmp").glob(f"run-{run.id}-*"))
    assert (run.finished or datetime.now(UTC)) >= run.created
