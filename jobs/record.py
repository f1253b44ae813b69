"""The record of a run: opens and closes its stages in the database, its logs on disk, and tells the watchers.

What is raised out of a stage decides its state: `Refused` is `failed`, `Trouble` is `error`, `Stopped` is `cancelled`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from server.core.config import Config, Limits
from server.core.errors import Refused, TotoError, Unknown
from server.core.events import Events
from server.core.log import LogWriter, log_path
from server.core.model import CheckRow
from server.core.states import StageName, StageState
from server.core.store import Store

BATCH_SECONDS = 0.25
"""Checks are written together this often: 100,000 of them must not become 100,000 transactions."""
CANCEL_SECONDS = 1.0
"""How often the database is asked whether somebody cancelled."""


class Stopped(TotoError):
    """Somebody cancelled the run."""

    exit_code = 6


class OpenStage:
    """A stage while it runs: `server.core.recorder.StageLog`."""

    def __init__(self, record: Record, stage: StageName) -> None:
        self._record = record
        self._stage = stage
        self._told = 0.0
        self._rows: list[CheckRow] = []
        self._flushed = time.monotonic()
        self.reason: str | None = None
        path = log_path(record.config, record.run_id, stage)
        self._log = LogWriter(path, record.limits.log, self._grown)

    @property
    def stage(self) -> StageName:
        """Which stage this is."""
        return self._stage

    def line(self, text: str) -> None:
        """Write a sentence of toto's own into the log."""
        self._log.line(text)

    def write(self, data: bytes) -> None:
        """Write output of a program into the log."""
        self._log.write(data)

    def check(self, row: CheckRow) -> None:
        """Record one TAP test point."""
        self._rows.append(row)
        if time.monotonic() - self._flushed > BATCH_SECONDS:
            self.flush()

    def note(self, reason: str) -> None:
        """The short text beside the stage's name."""
        self.reason = reason
        self._record.store.note_stage(self._record.run_id, self._record.attempt, self._stage, reason)
        self._record.tell("stage", stage=self._stage.value)

    def stopped(self) -> bool:
        """Whether somebody cancelled the run; a run that began to activate is never stopped."""
        self.flush()
        return self._record.stoppable and self._record.cancelled()

    def flush(self) -> None:
        """Write the checks that came since the last time."""
        rows, self._rows = self._rows, []
        self._flushed = time.monotonic()
        if rows:
            self._record.store.add_checks(self._record.run_id, self._record.attempt, rows)
            self._record.tell("check", stage=self._stage.value)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._log.close()

    def _grown(self, length: int) -> None:
        if time.monotonic() - self._told > BATCH_SECONDS:
            self._told = time.monotonic()
            self._record.tell("log", stage=self._stage.value, length=length)


class Record:
    """One attempt of a run, as its worker writes it down."""

    def __init__(self, config: Config, limits: Limits, store: Store, events: Events, run_id: str, attempt: int) -> None:
        self.config = config
        self.limits = limits
        self.store = store
        self.events = events
        self.run_id = run_id
        self.attempt = attempt
        self.stoppable = True
        """Unset when the target begins to change: from then on the run is finished or rolled back."""
        self._asked = 0.0
        self._cancelled = False

    def tell(self, kind: str, **fields: str | int) -> None:
        """Tell whoever watches this run."""
        self.events.tell(kind, run=self.run_id, **fields)

    def cancelled(self) -> bool:
        """Whether somebody asked the run to stop."""
        if not self._cancelled and time.monotonic() - self._asked > CANCEL_SECONDS:
            self._asked = time.monotonic()
            self._cancelled = self.store.cancelled(self.run_id)
        return self._cancelled

    @contextlib.contextmanager
    def stage(self, name: StageName) -> Iterator[OpenStage]:
        """One stage: running inside the block; its state at the end follows from what was raised."""
        if self.stoppable and self.cancelled():
            raise Stopped("the run was cancelled", where=name.value)
        self.store.start_stage(self.run_id, self.attempt, name)
        self.tell("stage", stage=name.value)
        opened = OpenStage(self, name)
        state, reason = StageState.ERROR, "toto broke off"
        try:
            yield opened
            state, reason = StageState.PASSED, opened.reason or ""
        except Refused as refused:
            state, reason = (
                (StageState.CANCELLED, "cancelled") if self._stop_seen() else (StageState.FAILED, str(refused))
            )
            opened.line(reason)
            self._end_if_stopped(refused, name)
            raise
        except Unknown as unknown:
            state, reason = StageState.UNKNOWN, str(unknown)
            opened.line(reason)
            raise
        except TotoError as trouble:
            state, reason = (
                (StageState.CANCELLED, "cancelled") if self._stop_seen() else (StageState.ERROR, str(trouble))
            )
            opened.line(reason)
            self._end_if_stopped(trouble, name)
            raise
        except Exception as broken:
            reason = f"toto itself broke: {type(broken).__name__}: {broken}"
            opened.line(reason)
            raise
        finally:
            opened.close()
            self.store.finish_stage(self.run_id, self.attempt, name, state, reason or None)
            self.tell("stage", stage=name.value)
            self.tell("log", stage=name.value, length=-1)

    def skip(self, name: StageName, reason: str) -> None:
        """A stage that has nothing to do."""
        self.store.skip_stage(self.run_id, self.attempt, name, reason)
        self.tell("stage", stage=name.value)

    def _stop_seen(self) -> bool:
        return self.stoppable and self._cancelled

    def _end_if_stopped(self, error: TotoError, name: StageName) -> None:
        if self._stop_seen():
            raise Stopped("the run was cancelled", where=name.value) from error
