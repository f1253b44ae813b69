"""What toto speaks about, as frozen values. No I/O here; `store` reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from server.core.states import Action, Backend, Cause, Force, HostState, RunState, StageName, StageState

ZERO = "0" * 40
"""Git's name for 'no commit' in a ref update."""


@dataclass(frozen=True)
class Repo:
    """A repository that toto hosts: one fleet."""

    name: str
    path: str
    branch: str
    created: datetime


@dataclass(frozen=True)
class Push:
    """One ref update received."""

    id: str
    repo: str
    ref: str
    old: str
    new: str
    pusher: str
    received: datetime
    options: tuple[str, ...] = ()
    state: str = "received"
    """`received`, then `planned`, or `ignored` (a tag, a deleted branch) or `error`; `reason` says why."""
    reason: str | None = None
    subject: str = ""


@dataclass(frozen=True)
class PlanRow:
    """What a push means for one host."""

    host: str
    changed: bool
    action: Action
    reason: str
    identity: str | None
    tests: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Counts:
    """Counts of checks of a stage."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    todo: int = 0


@dataclass(frozen=True)
class Stage:
    """A step of a run."""

    name: StageName
    state: StageState
    started: datetime | None = None
    finished: datetime | None = None
    reason: str | None = None
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class CheckRow:
    """One TAP test point of a stage, as the pages show it.

    Attributes:
        stage: The stage it belongs to.
        file: The test file, or `stock/NAME` for toto's own checks.
        number: Its place in the stage, from 1.
        ok: Whether it counts as passed (TODO and SKIP do).
        description: What it checks.
        directive: `skip`, `todo` or nothing.
        reason: Text of the directive.
        diagnostics: Its YAML block or comments, as text.
        depth: 0 for a top-level point, 1 for a subtest's, and so on.
    """

    stage: StageName
    file: str
    number: int
    ok: bool
    description: str
    directive: str | None = None
    reason: str | None = None
    diagnostics: str | None = None
    depth: int = 0


@dataclass(frozen=True)
class Run:
    """One attempt to bring one host to one commit."""

    id: str
    repo: str
    host: str
    commit: str
    cause: Cause
    state: RunState
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    reason: str | None = None
    push: str | None = None
    action: Action = Action.DEPLOY
    identity: str | None = None
    tests: str | None = None
    release: str | None = None
    generation: int | None = None
    phase: str = "build"
    """Which queue carries it next: `build`, `deploy`, or `done`."""
    attempt: int = 1
    wave: int = 1
    actor: str | None = None
    why: str | None = None
    forces: tuple[Force, ...] = ()
    target_generation: int | None = None
    """For a rollback: the generation to return to."""
    cancel: bool = False
    ref: str | None = None


@dataclass(frozen=True)
class Release:
    """What a build made. Its id is the digest of the identity and the lock."""

    id: str
    host: str
    backend: Backend
    identity: str
    lock: str
    commit: str
    created: datetime


@dataclass(frozen=True)
class Generation:
    """A release as activated on a host.

    Attributes:
        number: From 1 for each host; 0 is the machine as it was found (then `release` is None).
        state: `pending` while it is activated, `good`, `bad` (rolled back automatically), `rejected` (by a person).
    """

    host: str
    number: int
    release: str | None
    commit: str | None
    run: str | None
    state: str
    activated: datetime
    tests: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Host:
    """A host and what toto knows of it."""

    name: str
    repo: str
    backend: Backend
    state: HostState
    commit: str | None = None
    generation: int | None = None
    last_good: int | None = None
    identity: str | None = None
    """Identity of what runs there."""
    tests: str | None = None
    """Digest of the tests that what runs there has passed."""
    release: str | None = None
    held_by: str | None = None
    held_why: str | None = None
    wanted: str | None = None
    """Identity that the deployed branch asks for."""
    host_key: str | None = None
    seen: datetime | None = None
    reason: str | None = None
    tags: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True)
class Act:
    """One act of a person, for the audit log."""

    time: datetime
    actor: str
    act: str
    subject: str
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
