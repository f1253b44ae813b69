"""What the pipeline knows of a machine to be changed: one Protocol, whatever the machine runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from host_tests.suite_values import Suite
from server.core.config import Config, Limits
from server.core.definition import HostEntry
from server.core.errors import Refused, TargetTrouble, Unknown
from server.core.recorder import StageLog
from server.core.states import Backend, StageName

NONE = "none"
"""The release of generation 0: the machine as it was found."""


class Drift(TargetTrouble):
    """The host is not what toto put there.

    Attributes:
        lines: What differs, as the target tells it.
    """

    def __init__(self, what: str, *, lines: tuple[str, ...], where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.lines = lines


class ActivationFailed(Refused):
    """The release could not be activated. The host is still to be rolled back, unless its own record says it was."""


class RollbackFailed(TargetTrouble):
    """The host is not back where it was: somebody has to look."""


@dataclass(frozen=True)
class Facts:
    """What a target says of itself.

    Attributes:
        release: The release that runs; `none` for the machine as it was found.
        run: The run that brought it there.
        newest: The newest run that began to change it, and `newest_state` how that one stands.
        pending: The run that is being tried now.
        free: Bytes free where releases are kept; `free_boot` on /boot.
        boot: Id of this boot. `uptime` in seconds. `clock` is its time minus ours, in seconds.
    """

    host: str
    suite: str
    architecture: str
    free: int
    free_boot: int
    release: str
    generation: int
    run: str | None
    newest: str | None
    newest_state: str | None
    pending: str | None
    boot: str
    uptime: float
    clock: float
    needs_reboot: bool
    version: int


@dataclass(frozen=True)
class Preview:
    """What an activation would change.

    Attributes:
        changes: Package, version now, version then; now is empty for a new package, then for one that goes.
    """

    changes: tuple[tuple[str, str, str], ...]

    @property
    def summary(self) -> str:
        """As the short text beside a stage."""
        added = sum(not old for _, old, _ in self.changes)
        gone = sum(not new for _, _, new in self.changes)
        return f"{len(self.changes) - added - gone} changed, {added} added, {gone} removed"


@dataclass(frozen=True)
class Record:
    """A run as the target's own record has it.

    Attributes:
        state: `none`, `ready`, `applying`, `applied`, `apply-failed`, `confirmed`, `rolling-back`,
            `rolled-back`, `rollback-failed`.
        text: What the record adds: `why=deadman`, `rc=100`.
        pending: The run that is being tried there now.
        log: Bytes of its log so far.
        left: Files that packages left beside changed configuration (`.dpkg-dist`, `.dpkg-old`).
    """

    state: str
    text: str = ""
    pending: str | None = None
    log: int = 0
    left: tuple[str, ...] = ()

    @property
    def began(self) -> bool:
        """Whether the run began to change the machine."""
        return self.state not in ("none", "ready")


class ReleaseLike(Protocol):
    """A release in its folder (`server.core.releases`)."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def path(self) -> Path:
        """Its folder."""
        ...


class TargetBackend(Protocol):
    """A machine, and what can be done to it.

    Every method may raise `TargetTrouble` (it cannot be reached, or is not fit for it) with a place and what to do.
    """

    def facts(self) -> Facts:
        """What it is, and what runs there."""
        ...

    def send(self, release: ReleaseLike | None, tests_bundle: bytes, log: StageLog) -> None:
        """Bring a release (None where it is there already) and a bundle of tests there, as far as they are missing."""
        ...

    def preflight(
        self, run_id: str, release_id: str, generation: int, *, over_drift: bool = False, log: StageLog
    ) -> Preview:
        """Check the machine and record all that the way back needs; changes nothing.

        Raises:
            Drift: The host is not what toto put there, and `over_drift` was not said.
            Refused: The release cannot be installed there.
        """
        ...

    def activate(self, run_id: str, log: StageLog) -> None:
        """Change the machine, provisionally; returns when the release is in place and SSH answered again.

        Raises:
            ActivationFailed: It did not work; `undo` comes next.
            Unknown: The machine could not be asked in time.
        """
        ...

    def run_tests(
        self, run_id: str, stage: StageName, suite: Suite, log: StageLog, *, tests: StageName | None = None
    ) -> None:
        """Run the tests of a stage there (of `tests`, where those are another stage's) and judge them.

        Raises:
            ChecksFailed: They said no.
        """
        ...

    def confirm(self, run_id: str, log: StageLog) -> None:
        """Make the activation permanent, over a new connection.

        Raises:
            ActivationFailed: It was undone meanwhile.
        """
        ...

    def undo(self, run_id: str, log: StageLog) -> None:
        """Return to what ran before the run, whether confirmed or not; done already is no fault.

        Raises:
            RollbackFailed: The machine is not as it was.
            Unknown: It could not be asked in time.
        """
        ...

    def record(self, run_id: str) -> Record:
        """How the run stands by the machine's own record."""
        ...

    def drift(self) -> tuple[str, ...]:
        """What is not as toto put it; empty where nothing differs."""
        ...


def backend(config: Config, entry: HostEntry, limits: Limits | None = None) -> TargetBackend:
    """The machine of a host entry.

    Raises:
        TargetTrouble: Its host key is not known.
        Refused: toto has no such backend yet.
    """
    from deploy import debian, target

    match entry.backend:
        case Backend.DEBIAN:
            return debian.DebianTarget.of(config, entry, target.target(config, entry), limits or config.limits)
        case Backend.NIXOS:
            raise Refused(
                "toto cannot deploy NixOS hosts yet", where=f"fleet.toml:{entry.line}", mend='use backend = "debian"'
            )
        case _ as never:
            assert_never(never)


__all__ = [
    "NONE",
    "ActivationFailed",
    "Drift",
    "Facts",
    "Preview",
    "Record",
    "ReleaseLike",
    "RollbackFailed",
    "TargetBackend",
    "Unknown",
    "backend",
]
