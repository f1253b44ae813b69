"""The record of a run: what is raised out of a stage is its state."""

from __future__ import annotations

import time

import pytest

from jobs import record as recording
from jobs.record import Record, Stopped
from server.core.config import Config
from server.core.errors import ChecksFailed, TargetTrouble, Unknown
from server.core.events import Events
from server.core.log import read_log
from server.core.model import CheckRow, Run
from server.core.states import Action, StageName, StageState, stages_for
from server.core.store import Store

BOOT = StageName.BOOT


@pytest.fixture
def run(store: Store) -> Run:
    made = store.add_run(stages_for(Action.DEPLOY), repo="fleet", host="web", commit="1" * 40, cause="push")
    store.claim(made.id, 1, "build")
    return made


@pytest.fixture
def record(config: Config, store: Store, run: Run) -> Record:
    return Record(config, config.limits, store, Events(config), run.id, 1)


def stage_of(store: Store, run: Run, name: StageName = BOOT) -> tuple[StageState, str | None]:
    stage = next(stage for stage in store.stages(run.id) if stage.name is name)
    return stage.state, stage.reason


def test_a_stage_that_returns_has_passed(store: Store, run: Run, record: Record, config: Config) -> None:
    with record.stage(BOOT) as log:
        assert stage_of(store, run)[0] is StageState.RUNNING
        log.note("SSH after 16 s")
        log.line("booting")
        log.write(b"[    0.0] Linux\n")
    assert stage_of(store, run) == (StageState.PASSED, "SSH after 16 s")
    assert read_log(config, run.id, BOOT).data == b"toto: booting\n[    0.0] Linux\n"


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (ChecksFailed("nginx says no"), StageState.FAILED),
        (TargetTrouble("it is down"), StageState.ERROR),
        (Unknown("it fell silent"), StageState.UNKNOWN),
    ],
)
def test_what_is_raised_decides_the_state(
    store: Store, run: Run, record: Record, raised: Exception, state: StageState
) -> None:
    with pytest.raises(type(raised)), record.stage(BOOT):
        raise raised
    assert stage_of(store, run) == (state, str(raised))


def test_a_fault_of_our_own_is_an_error_and_goes_on(store: Store, run: Run, record: Record) -> None:
    with pytest.raises(ZeroDivisionError), record.stage(BOOT):
        _ = 1 / 0
    state, reason = stage_of(store, run)
    assert state is StageState.ERROR
    assert reason is not None
    assert "toto itself broke: ZeroDivisionError" in reason


def test_checks_are_written_in_batches_and_none_is_lost(store: Store, run: Run, record: Record) -> None:
    began = time.monotonic()
    with record.stage(BOOT) as log:
        for number in range(1, 5001):
            log.check(CheckRow(BOOT, "10.sh", number, number % 1000 != 0, "x"))
    assert time.monotonic() - began < 20
    stage = next(stage for stage in store.stages(run.id) if stage.name is BOOT)
    assert (stage.counts.passed, stage.counts.failed) == (4995, 5)
    assert len(store.checks(run.id)) == 5000


def test_a_cancelled_run_stops_at_the_next_stage(
    store: Store, run: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CANCEL_SECONDS", 0.0)
    store.request_cancel(run.id)
    with pytest.raises(Stopped), record.stage(BOOT):
        raise AssertionError("it must not begin")
    assert stage_of(store, run)[0] is StageState.WAITING


def test_work_that_ends_because_of_a_cancel_is_cancelled_not_failed(
    store: Store, run: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CANCEL_SECONDS", 0.0)
    with pytest.raises(Stopped), record.stage(BOOT) as log:
        store.request_cancel(run.id)
        assert log.stopped()
        raise ChecksFailed("the VM was ended")
    assert stage_of(store, run)[0] is StageState.CANCELLED


def test_a_switch_that_has_begun_is_never_cancelled(
    store: Store, run: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CANCEL_SECONDS", 0.0)
    record.stoppable = False
    store.request_cancel(run.id)
    with record.stage(StageName.TEST) as log:
        assert not log.stopped()
    assert stage_of(store, run, StageName.TEST)[0] is StageState.PASSED
