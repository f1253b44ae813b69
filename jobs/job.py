"""Everything that a run's worker needs, gathered once: the run, its host as the commit describes it, its limits."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from host_tests.suite import Suite, collect
from jobs.record import Record
from server.core import fleet, repos
from server.core.config import Config, Limits
from server.core.definition import DebianHost, Fleet, HostEntry
from server.core.errors import Refused, Trouble, UsageFault
from server.core.events import Events
from server.core.model import Host, Run
from server.core.states import Force, StageName
from server.core.store import Store
from server.core.tree import Tree


@dataclass(frozen=True)
class Job:
    """One attempt of one run."""

    config: Config
    store: Store
    events: Events
    run: Run
    record: Record
    fleet: Fleet
    entry: HostEntry
    tree: Tree
    limits: Limits

    @cached_property
    def definition(self) -> DebianHost:
        """The host's evaluated definition at the run's commit."""
        return fleet.evaluate(self.tree, self.fleet, self.entry.name)

    @cached_property
    def suite(self) -> Suite:
        """The host's tests at the run's commit."""
        return collect(self.tree, self.entry.name)

    @property
    def host(self) -> Host:
        """What toto knows of the host now."""
        known = self.store.host(self.run.host)
        if known is None:
            self.store.put_host(self.run.host, self.run.repo, self.entry.backend, address=self.entry.address)
            known = self.store.host(self.run.host)
        assert known is not None  # noqa: S101 - just written
        return known

    def forced(self, force: Force) -> bool:
        """Whether a person forced this run so."""
        return force in self.run.forces

    def has(self, name: StageName) -> bool:
        """Whether the run has this stage."""
        return any(stage.name is name for stage in self.store.stages(self.run.id))

    def suite_before(self) -> Suite:
        """The host's tests at the commit that ran before this run; none where toto had put nothing there."""
        commit, repo = self.host.commit, self.store.repo(self.run.repo)
        if commit is None or repo is None:
            return Suite(self.run.host, ())
        return collect(repos.tree(Path(repo.path), commit), self.run.host)

    def suite_of_goal(self) -> Suite:
        """For a rollback: the tests of the generation returned to; none for the machine as it was found."""
        return self.suite if self.run.target_generation else Suite(self.run.host, ())

    def folder(self, *parts: str) -> Path:
        """A private folder of this run for what need not outlive it."""
        path = self.config.folder("tmp", f"run-{self.run.id}-{self.run.attempt}", *parts)
        path.mkdir(parents=True, exist_ok=True, mode=0o770)
        return path


def limits_of(config: Config, entry: HostEntry) -> Limits:
    """The bounds of a host's runs: the server's, with the host's own over them."""
    given: dict[str, Any] = {**entry.timeouts, **entry.limits}
    return dataclasses.replace(config.limits, **given)


def gather(config: Config, store: Store, events: Events, run: Run) -> Job:
    """All that a run's worker needs.

    Raises:
        Refused: The commit's files are invalid, or it has no such host any more.
        UsageFault: The repository is gone.
    """
    repo = store.repo(run.repo)
    if repo is None:
        raise UsageFault(f"toto has no repository {run.repo}", mend=f"`toto repo add {run.repo}`")
    tree = repos.tree(Path(repo.path), run.commit)
    found = fleet.load(tree)
    entry = found.host(run.host)
    if entry is None:
        raise Refused(f"commit {run.commit[:7]} has no host {run.host}", where="fleet.toml")
    if (host := store.host(run.host)) is not None and host.host_key and entry.host_key is None:
        entry = dataclasses.replace(entry, host_key=host.host_key)
    limits = limits_of(config, entry)
    record = Record(config, limits, store, events, run.id, run.attempt)
    return Job(config, store, events, run, record, found, entry, tree, limits)


@contextlib.contextmanager
def lock_file(config: Config, name: str, *, wait: bool = False) -> Iterator[bool]:
    """A lock that dies with its holder: True inside the block where it was had.

    The kernel frees it when the process ends, however it ends; its children are ended with it (`server.core.process`).
    """
    path = config.folder("locks", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o660)
    try:
        with contextlib.suppress(PermissionError):
            path.chmod(0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def held_elsewhere(config: Config, name: str) -> bool:
    """Whether somebody holds that lock now.

    Raises:
        Trouble: The lock's file cannot be opened.
    """
    try:
        with lock_file(config, name) as had:
            return not had
    except OSError as error:
        raise Trouble(f"the lock {name} cannot be read: {error}", where=str(config.folder("locks"))) from error
