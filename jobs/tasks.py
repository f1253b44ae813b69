"""What the workers run: one function for each queue. Arguments are ids; everything else is read from the database.

Each is idempotent: a claim in the database lets one call of each attempt through, and the others find nothing to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from jobs import pipeline
from jobs.job import Job, gather, lock_file
from jobs.plan import plan_push
from jobs.schedule import advance
from server.core import config as settings
from server.core import log
from server.core.config import Config
from server.core.errors import QueueTrouble, Refused, TotoError
from server.core.events import Events
from server.core.queue import BUILD, DEPLOY, Queue
from server.core.states import RunState
from server.core.store import Store


@contextlib.contextmanager
def _open() -> Iterator[tuple[Config, Store, Events]]:
    config = settings.load()
    store = Store(config)
    try:
        yield config, store, Events(config)
    finally:
        with contextlib.suppress(QueueTrouble):
            advance(store, Queue(config))
        store.close()


def plan(push_id: str) -> None:
    """Plan a push, and set its runs going."""
    with _open() as (_, store, events):
        plan_push(store, events, push_id)


def build(run_id: str, attempt: int) -> None:
    """Build and rehearse a run."""
    _work(run_id, attempt, BUILD, pipeline.rehearse_run)


def deploy(run_id: str, attempt: int) -> None:
    """Deploy a run; where another deploy holds the host, the run goes on waiting."""
    _work(run_id, attempt, DEPLOY, pipeline.deploy_run)


def _work(run_id: str, attempt: int, phase: str, story: Callable[[Job], None]) -> None:
    with _open() as (config, store, events):
        run = store.run(run_id)
        if run is None:
            return
        with contextlib.ExitStack() as locks:
            if not locks.enter_context(lock_file(config, f"run-{run_id}")):
                return
            if phase == DEPLOY and not locks.enter_context(lock_file(config, f"host-{run.host}")):
                return
            if not store.claim(run_id, attempt, phase):
                return
            events.tell("run", run=run_id)
            _tell(config, store, events, run_id, attempt, story)


def _tell(
    config: Config, store: Store, events: Events, run_id: str, attempt: int, story: Callable[[Job], None]
) -> None:
    """Gather what the run needs, and let its story happen. What cannot even begin ends here."""
    run = store.run(run_id)
    if run is None:
        return
    try:
        job = gather(config, store, events, run)
    except TotoError as error:
        state = RunState.FAILED if isinstance(error, Refused) else RunState.ERROR
        store.finish_run(run_id, attempt, state, str(error))
    else:
        story(job)
    events.tell("run", run=run_id)
    ended = store.run(run_id)
    if ended is not None and ended.state.final:
        log.compress(config, run_id)
