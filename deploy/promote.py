"""What a proven or failed generation makes of its host: last good, bad, rejected."""

from __future__ import annotations

import dataclasses

from deploy.backend import ReleaseLike
from server.core.model import Generation, Host, Run
from server.core.recorder import StageLog
from server.core.store import Store
from server.core.store_base import now


def promote(store: Store, run: Run, release: ReleaseLike, number: int, log: StageLog) -> None:
    """This generation is the host's last good one: its post-switch checks passed."""
    store.put_generation(Generation(run.host, number, release.id, run.commit, run.id, "good", now(), tests=run.tests))
    store.set_host(
        run.host, commit=run.commit, generation=number, last_good=number, identity=run.identity, tests=run.tests,
        release=release.id, reason=None, seen=now(),
    )  # fmt: skip
    store.accept(run.host, release.id)
    log.line(f"generation {number} is the last good one of {run.host}")


def demote(store: Store, generation: Generation, identity: str, why: str) -> None:
    """A generation failed on its host: bad, and its release is not tried there again by itself."""
    store.put_generation(dataclasses.replace(generation, state="bad", reason=why))
    if generation.release is not None:
        store.reject(generation.host, generation.release, identity, "toto", why)


def returned(store: Store, left: Host, run: Run) -> None:
    """A person's rollback is done: the generation that was left is rejected, the older number runs again.

    Args:
        store: The database.
        left: The host as it stood before.
        run: The rollback.
    """
    who, why = run.actor or "toto", run.why or "rolled back by hand"
    old = store.generation(run.host, left.generation) if left.generation is not None else None
    if old is not None and old.number != run.target_generation:
        store.put_generation(dataclasses.replace(old, state="rejected", reason=f"{who}: {why}"))
        if old.release is not None:
            store.reject(run.host, old.release, left.identity or "", who, why)
    goal = store.generation(run.host, run.target_generation or 0)
    release = store.release(goal.release) if goal is not None and goal.release else None
    if goal is not None:
        store.put_generation(dataclasses.replace(goal, state="good", reason=goal.reason))
    store.set_host(
        run.host, commit=goal.commit if goal else None, generation=run.target_generation,
        last_good=run.target_generation, identity=release.identity if release else None,
        tests=goal.tests if goal else None, release=release.id if release else None, seen=now(), reason=None,
    )  # fmt: skip
