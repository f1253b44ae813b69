"""Compares database, refs, spool and queues, and repairs: at start, and every few seconds."""

from __future__ import annotations

import shutil
import time

from jobs.job import held_elsewhere
from jobs.schedule import advance
from server.core.config import Config
from server.core.model import Run
from server.core.queue import BUILD, Queue
from server.core.states import RunState
from server.core.store import Store

ATTEMPTS = 3
"""How often a build and rehearsal is begun whose worker dies; a deploy is resumed from the target's record instead."""
UNKNOWN_SECONDS = 15.0
"""How often the target of an unknown run is asked."""


class Reconciler:
    """Keeps the database true and the queues filled."""

    def __init__(self, config: Config, store: Store, queue: Queue) -> None:
        self.config = config
        self.store = store
        self.queue = queue
        self._asked: dict[str, float] = {}

    def tick(self) -> list[str]:
        """One look; returns what was repaired, as sentences.

        Raises:
            QueueTrouble: Redis does not answer.
        """
        repaired = []
        for run in self.store.open_runs():
            if run.state is RunState.RUNNING and not held_elsewhere(self.config, f"run-{run.id}"):
                repaired += self._orphan(run.id)
            elif run.state is RunState.UNKNOWN and self._due(run.id):
                self.store.again(run.id, run.attempt, "asks the target what became of it")
        advance(self.store, self.queue)
        return repaired

    def _due(self, run_id: str) -> bool:
        last = self._asked.get(run_id, 0.0)
        if time.monotonic() - last < UNKNOWN_SECONDS:
            return False
        self._asked[run_id] = time.monotonic()
        return True

    def _orphan(self, run_id: str) -> list[str]:
        """A run whose worker is gone: again for a build, resumed for a deploy."""
        run = self.store.run(run_id)  # read again: it may have ended between the two looks
        if run is None or run.state is not RunState.RUNNING or held_elsewhere(self.config, f"run-{run.id}"):
            return []
        if run.phase == BUILD and run.attempt >= ATTEMPTS:
            reason = f"its worker died {run.attempt} times"
            self.store.finish_run(run.id, run.attempt, RunState.ERROR, reason)
            return [f"run {run.id} ended: {reason}"]
        self.store.again(run.id, run.attempt, "its worker died; it goes on with the next one")
        self._sweep(run)
        return [f"run {run.id} of {run.host} goes on: its worker had died"]

    def _sweep(self, run: Run) -> None:
        for folder in self.config.folder("tmp").glob(f"run-{run.id}-*"):
            shutil.rmtree(folder, ignore_errors=True)
