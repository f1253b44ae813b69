"""How runs end, and what that makes of their host: the one place that writes down the outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from deploy import promote
from deploy.backend import Record, TargetBackend
from jobs import build
from jobs.job import Job
from jobs.record import Stopped
from server.core.acts import resting_state
from server.core.errors import Refused, TargetTrouble, TotoError, Trouble, Unknown
from server.core.model import Generation
from server.core.releases import ReleaseFiles
from server.core.states import HostState, RunState, StageName
from server.core.store_base import now

PATIENCE = 3.0
"""How many times the activation's own limit a target may stay silent before the run ends as an `error`."""


def finish(job: Job, state: RunState, reason: str | None, generation: int | None = None) -> None:
    """End the run, and let its host rest."""
    values = {} if generation is None else {"generation": generation}
    job.store.finish_run(job.run.id, job.run.attempt, state, reason, **values)
    known = state in (RunState.GOOD, RunState.ROLLED_BACK)
    if job.host.state is HostState.DEPLOYING or (known and job.host.state is HostState.UNKNOWN):
        rest(job)
    job.record.tell("run")
    job.record.tell("host", host=job.run.host)


def rest(job: Job) -> None:
    """The host's state, now that nothing happens to it."""
    job.store.set_host(job.run.host, state=resting_state(job.host).value, reason=None)


@contextlib.contextmanager
def of(job: Job) -> Iterator[None]:
    """What is raised out of a run decides how it ends; what returns has said so itself."""
    try:
        yield
    except Stopped:
        finish(job, RunState.CANCELLED, "cancelled")
    except Unknown as unknown:
        lost(job, unknown)
    except Refused as refused:
        finish(job, RunState.FAILED, _because(job, refused))
    except TotoError as trouble:
        finish(job, RunState.ERROR, _because(job, trouble))
    except Exception as broken:
        finish(job, RunState.ERROR, f"toto itself broke: {type(broken).__name__}: {broken}")
        raise
    finally:
        build.clean(job)


def _because(job: Job, error: TotoError) -> str:
    """The stage that broke off, and its reason."""
    ended = [stage for stage in job.store.stages(job.run.id) if stage.state in ("failed", "error")]
    return f"{ended[-1].name.value}: {error}" if ended else str(error)


def hand_over(job: Job) -> None:
    """The rehearsed run waits for its deploy."""
    job.store.hand_over(job.run.id, job.run.attempt, "deploy", "waits for a deployer")
    job.record.tell("run")


def next_number(job: Job) -> int:
    """The number of the generation that this run would make. The machine as it was found is generation 0."""
    if not job.store.generations(job.run.host):
        found = Generation(job.run.host, 0, None, None, None, "good", now(), reason="as toto found it")
        job.store.put_generation(found)
    return job.store.next_generation(job.run.host)


def began(job: Job, release: ReleaseFiles, number: int) -> None:
    """From here on the run is finished or rolled back, never abandoned."""
    job.record.stoppable = False
    pending = Generation(
        job.run.host, number, release.id, job.run.commit, job.run.id, "pending", now(), tests=job.run.tests
    )
    job.store.put_generation(pending)
    job.store.set_host(job.run.host, state=HostState.DEPLOYING.value)
    job.store.update_run(job.run.id, job.run.attempt, generation=number)
    job.record.tell("host", host=job.run.host)


def tested(job: Job) -> None:
    """What runs on the host has passed the run's tests; no generation was made."""
    host = job.host
    job.store.set_host(host.name, tests=job.run.tests, commit=job.run.commit)
    finish(job, RunState.GOOD, f"generation {host.generation} is this release already", generation=host.generation)


@contextlib.contextmanager
def rolling_back(job: Job, error: Refused | Trouble) -> Iterator[None]:
    """The way back after a failure: it ends `rolled-back` where the proof was had, and `rollback-failed` where not."""
    why = _because(job, error)
    job.store.update_run(job.run.id, job.run.attempt, reason=why)
    try:
        yield
    except Unknown:
        raise
    except (Refused, Trouble) as failed:
        _bad(job, why)
        job.store.set_host(job.run.host, state=HostState.UNKNOWN.value, reason=f"rollback failed: {failed}")
        finish(job, RunState.ROLLBACK_FAILED, f"{why}; and the rollback failed: {failed}")
    else:
        _bad(job, why)
        finish(job, RunState.ROLLED_BACK, why)


def _bad(job: Job, why: str) -> None:
    """The generation that failed is bad, and its release is not tried there again by itself."""
    run = job.store.run(job.run.id)
    number = run.generation if run else None
    generation = job.store.generation(job.run.host, number) if number is not None else None
    if generation is not None and generation.release is not None:
        promote.demote(job.store, generation, job.run.identity or "", why)


@contextlib.contextmanager
def by_hand(job: Job) -> Iterator[None]:
    """A person's rollback: ends `good` at the old generation's number, or `rollback-failed`."""
    job.record.stoppable = False
    left = job.host
    try:
        yield
    except Unknown:
        raise
    except (Refused, Trouble) as failed:
        state = HostState.UNKNOWN if _checked(job) else resting_state(job.host)
        job.store.set_host(left.name, state=state.value, reason=str(failed))
        finish(job, RunState.ROLLBACK_FAILED, _because(job, failed))
    else:
        promote.returned(job.store, left, job.run)
        finish(job, RunState.GOOD, job.run.why, generation=job.run.target_generation)


def _checked(job: Job) -> bool:
    """Whether the way back got as far as its check: then the host runs something whose worth nobody knows."""
    return any(
        stage.name is StageName.ROLLBACK_CHECK and stage.started is not None for stage in job.store.stages(job.run.id)
    )


def lost(job: Job, unknown: Unknown) -> None:
    """The target fell silent in the middle: nothing is known until its own record is read."""
    began_at = job.run.started or job.run.created
    silent = (now() - began_at).total_seconds()
    job.store.set_host(job.run.host, state=HostState.UNKNOWN.value, reason=str(unknown))
    if silent > PATIENCE * job.limits.activation + job.limits.tests:
        finish(job, RunState.ERROR, f"{unknown}; the target did not answer for {silent:.0f} s")
        return
    job.store.update_run(job.run.id, job.run.attempt, state=RunState.UNKNOWN.value, reason=str(unknown))
    job.record.tell("run")


def own_record(job: Job, target: TargetBackend) -> Record:
    """How the run stands by the target's own record.

    Raises:
        Unknown: It cannot be asked now, and the run may have begun to change it.
    """
    try:
        return target.record(job.run.id)
    except TargetTrouble as trouble:
        raise Unknown(
            f"what became of the run is not known: {trouble.what}", where=trouble.where, mend=trouble.mend
        ) from trouble
