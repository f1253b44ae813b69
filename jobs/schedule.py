"""What may go on now: looks at the runs that wait, and asks the queues for their next phase.

Called after every change and every few seconds; asking twice is harmless, since a claim in the database decides.
"""

from __future__ import annotations

from server.core.model import Run
from server.core.queue import BUILD, DEPLOY, Queue
from server.core.states import Cause, RunState
from server.core.store import Store

RED = (RunState.FAILED, RunState.ROLLED_BACK, RunState.ROLLBACK_FAILED, RunState.ERROR)


def advance(store: Store, queue: Queue) -> int:
    """Ask for the next phase of every run that may go on; returns how many were asked for.

    Raises:
        QueueTrouble: Redis does not answer.
    """
    asked = sum(queue.enqueue_plan(push.id) for push in store.unplanned_pushes())
    runs = store.open_runs()
    for run in runs:
        if run.state is not RunState.WAITING:
            continue
        if run.phase == BUILD:
            asked += queue.enqueue_run(BUILD, run.id, run.attempt)
        elif (reason := waits_for(store, run, runs)) is None:
            asked += queue.enqueue_run(DEPLOY, run.id, run.attempt)
        elif reason.startswith("held: "):
            store.finish_run(run.id, run.attempt, RunState.HELD, reason.removeprefix("held: "))
        elif reason != run.reason:
            store.update_run(run.id, run.attempt, reason=reason)
    return asked


def waits_for(store: Store, run: Run, open_runs: list[Run]) -> str | None:
    """Why a run may not deploy yet; None where it may; `held: …` where it never will."""
    for other in open_runs:
        if other.id != run.id and other.host == run.host and other.phase == DEPLOY and _first(other, run):
            return f"waits for run {other.id} to leave {run.host}"
    if run.push is None or run.cause is not Cause.PUSH:
        return None
    for other in store.runs(push=run.push, limit=1000):
        if other.wave >= run.wave:
            continue
        if other.state in RED:
            return f"held: {other.host} in wave {other.wave} ended {other.state} in run {other.id}"
        if not other.state.final:
            return f"waits for wave {other.wave}: {other.host} is {other.state} in run {other.id}"
    return None


def _first(other: Run, run: Run) -> bool:
    """Whether the other run goes before this one on the same host: it runs already, or it waits and came earlier."""
    return other.state is not RunState.WAITING or int(other.id) < int(run.id)
