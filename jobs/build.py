"""The build stage's parts: which lock, which release, which image; and the folder a run works in."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from jobs import guest
from jobs.images import debian
from jobs.job import Job
from server.core import releases
from server.core.errors import Refused, Trouble
from server.core.model import Release
from server.core.recorder import StageLog
from server.core.releases import ReleaseFiles
from server.core.states import Action, Cause
from server.core.store_base import now


def settled(job: Job) -> bool:
    """Whether the host has come to run just this, with these tests, since the push was planned."""
    host = job.host
    if job.run.cause is not Cause.PUSH or job.run.action is not Action.DEPLOY:
        return False
    return (host.identity, host.tests) == (job.run.identity, job.run.tests)


def release(job: Job, log: StageLog) -> ReleaseFiles:
    """The run's release: the one that runs where only tests changed, else built from the identity's lock.

    Raises:
        BuildRefused: Its packages cannot be had together.
    """
    definition, host = job.definition, job.host
    job.store.update_run(job.run.id, job.run.attempt, identity=definition.identity, tests=job.suite.digest)
    if job.run.action is Action.TEST and host.release and host.identity == definition.identity:
        log.note("only tests changed")
        made = releases.open(job.config, host.release)
    else:
        made = debian.build_release(job.config, definition, _lock(job, log), job.run.commit, log)
    job.store.add_release(
        Release(made.id, job.run.host, job.entry.backend, made.identity, made.lock, made.commit, now())
    )
    job.store.update_run(job.run.id, job.run.attempt, release=made.id)
    return made


def _lock(job: Job, log: StageLog) -> debian.Lock:
    """The identity's lock: the one that is kept, unless there is none or a person said `toto update`."""
    identity = job.definition.identity
    kept = job.store.lock(job.run.host, identity)
    if kept is not None and job.run.cause is not Cause.UPDATE:
        log.line(f"the lock of identity {identity[:12]} is kept: nothing is resolved anew")
        return debian.Lock.from_json(kept)
    made = debian.resolve(job.config, job.definition, log)
    job.store.add_lock(job.run.host, identity, made.digest, made.to_json())
    return made


def image(job: Job, files: ReleaseFiles, log: StageLog) -> debian.Image:
    """A bootable image of the release."""
    parts = guest.guest_files(job.config)
    return debian.build_image(job.config, files, job.entry.name, parts, log, disk_bytes=job.limits.disk)


def last_good(job: Job) -> ReleaseFiles | None:
    """The release that runs on the host as its last good; None where there is none."""
    host = job.host
    if host.last_good is None:
        return None
    generation = job.store.generation(host.name, host.last_good)
    if generation is None or generation.release is None:
        return None
    return releases.open(job.config, generation.release)


def opened(job: Job) -> ReleaseFiles:
    """The run's release, as it was rehearsed.

    Raises:
        Trouble: It is not there any more.
    """
    if job.run.release is None:
        raise Trouble(f"run {job.run.id} has no release", mend=f"`toto rebuild {job.run.host}`")
    return releases.open(job.config, job.run.release)


def goal(job: Job) -> ReleaseFiles | None:
    """The release that a rollback returns to; None for the machine as it was found.

    Raises:
        Refused: That generation is not there any more.
    """
    generation = job.store.generation(job.run.host, job.run.target_generation or 0)
    if generation is None:
        raise Refused(f"{job.run.host} has no generation {job.run.target_generation}")
    return releases.open(job.config, generation.release) if generation.release else None


@contextlib.contextmanager
def scratch(job: Job) -> Iterator[Path]:
    """A private folder of the run; gone afterwards."""
    folder = job.folder("vm")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean(job: Job) -> None:
    """Remove what the run kept for itself."""
    for folder in job.config.folder("tmp").glob(f"run-{job.run.id}-*"):
        shutil.rmtree(folder, ignore_errors=True)
