"""The states and names of DESIGN's tables. A state is stored and printed as its value."""

from __future__ import annotations

from enum import StrEnum


class Backend(StrEnum):
    """How a host is built and changed."""

    DEBIAN = "debian"
    NIXOS = "nixos"


class Cause(StrEnum):
    """Why a run exists."""

    PUSH = "push"
    REBUILD = "rebuild"
    ROLLBACK = "rollback"
    VERIFY = "verify"
    RETRY = "retry"
    UPDATE = "update"
    SCHEDULE = "schedule"


class HostState(StrEnum):
    """What toto knows of a host."""

    NEW = "new"
    CURRENT = "current"
    BEHIND = "behind"
    DEPLOYING = "deploying"
    HELD = "held"
    DRIFTED = "drifted"
    UNREACHABLE = "unreachable"
    NEEDS_REBOOT = "needs-reboot"
    UNKNOWN = "unknown"


class RunState(StrEnum):
    """State of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    UNKNOWN = "unknown"
    GOOD = "good"
    NO_OP = "no-op"
    REHEARSED = "rehearsed"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    ROLLBACK_FAILED = "rollback-failed"
    ERROR = "error"
    HELD = "held"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self not in (RunState.WAITING, RunState.RUNNING, RunState.UNKNOWN)

    @property
    def exit_code(self) -> int:
        """Exit code of a command that followed a run to this state (DESIGN, Contracts)."""
        return EXIT_CODES.get(self, 5)


EXIT_CODES = {
    RunState.GOOD: 0,
    RunState.REHEARSED: 0,
    RunState.NO_OP: 0,
    RunState.FAILED: 1,
    RunState.ROLLED_BACK: 3,
    RunState.ROLLBACK_FAILED: 4,
    RunState.ERROR: 5,
    RunState.SUPERSEDED: 6,
    RunState.CANCELLED: 6,
    RunState.HELD: 6,
}

BADNESS = (0, 6, 1, 3, 5, 4)
"""Exit codes from best to worst: of several runs the worst is told. A broken machine (4) outranks not knowing (5)."""


def worst_exit_code(states: list[RunState]) -> int:
    """The exit code for several runs: the worst of theirs; 0 for none."""
    return max((state.exit_code for state in states), key=BADNESS.index, default=0)


class StageName(StrEnum):
    """Stages, in the order in which they run."""

    BUILD = "build"
    BOOT = "boot"
    NO_INTERNET = "no-internet"
    WITH_INTERNET = "with-internet"
    UPGRADE = "upgrade"
    TEST = "test"
    SMOKE = "smoke"
    SWITCH = "switch"
    POST_SWITCH = "post-switch"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ROLLBACK_CHECK = "rollback-check"


REHEARSAL_STAGES = (
    StageName.BUILD,
    StageName.BOOT,
    StageName.NO_INTERNET,
    StageName.WITH_INTERNET,
    StageName.UPGRADE,
)
DEPLOY_STAGES = (
    StageName.TEST,
    StageName.SMOKE,
    StageName.SWITCH,
    StageName.POST_SWITCH,
    StageName.PROMOTE,
)
ROLLBACK_STAGES = (StageName.ROLLBACK, StageName.ROLLBACK_CHECK)


class StageState(StrEnum):
    """State of a stage: `failed` is the checks' no, `error` is ours."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Whether the stage has ended."""
        return self not in (StageState.WAITING, StageState.RUNNING, StageState.UNKNOWN)


class Action(StrEnum):
    """What a plan does with a host."""

    DEPLOY = "deploy"
    TEST = "test"
    REHEARSE = "rehearse"
    HELD = "held"
    NONE = "none"


class Force(StrEnum):
    """The four names of forcing; each wants a reason."""

    AGAIN = "again"
    UNREHEARSED = "unrehearsed"
    OVER_DRIFT = "over-drift"
    ONE_WAY = "one-way"


def stages_for(action: Action) -> tuple[StageName, ...]:
    """The stages that a run of this action goes through, `rollback` and its check apart."""
    match action:
        case Action.DEPLOY:
            return (*REHEARSAL_STAGES, *DEPLOY_STAGES)
        case Action.TEST:
            return (*REHEARSAL_STAGES, StageName.SMOKE, StageName.POST_SWITCH)
        case Action.REHEARSE | Action.HELD:
            return REHEARSAL_STAGES
        case Action.NONE:
            return ()
