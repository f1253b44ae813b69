"""The way back: the stages `rollback` and `rollback-check`."""

from __future__ import annotations

from deploy import verify
from deploy.backend import NONE, ActivationFailed, ReleaseLike, RollbackFailed, TargetBackend
from host_tests.bundle import bundle
from host_tests.suite_values import Suite
from server.core.errors import ChecksFailed, TargetTrouble, Unknown
from server.core.recorder import StageLog
from server.core.states import StageName


def undo(target: TargetBackend, run_id: str, log: StageLog) -> None:
    """Return the target to what ran before the run, from its own record; where it did so already, that is enough.

    Raises:
        RollbackFailed: It is not as it was.
        Unknown: The target fell silent.
    """
    target.undo(run_id, log)
    log.note(target.record(run_id).text.removeprefix("why="))


def check(target: TargetBackend, run_id: str, suite: Suite | None, log: StageLog) -> None:
    """Prove that what was returned to is good: toto's own checks, and its post-switch tests where it has any.

    Raises:
        ChecksFailed: It is not good.
        TargetTrouble: The connection was lost, or the host is not what toto put there.
    """
    facts = target.facts()
    tests = suite or Suite(facts.host, ())
    drift = [line for line in target.drift() if not line.startswith("    ")]
    if drift:
        raise TargetTrouble(
            f"after the rollback it is not what toto put there: {', '.join(drift[:3])}",
            where=facts.host,
            mend="look at the machine",
        )
    verify.check(target, run_id, StageName.ROLLBACK_CHECK, tests, log, tests=StageName.POST_SWITCH)


def restore(
    target: TargetBackend, run_id: str, release: ReleaseLike | None, generation: int, suite: Suite, log: StageLog
) -> None:
    """Bring a target to an earlier generation because a person asked: under the same dead-man, and permanent only after
    smoke tests. Drift does not stop it: it aims at the release's lock.

    Args:
        target: The machine.
        run_id: The run.
        release: The generation's release; None for the machine as it was found.
        generation: Its number.
        suite: Its tests.
        log: The stage.

    Raises:
        RollbackFailed: It could not be brought there; it was returned to what ran before.
        TargetTrouble: It cannot be reached, or is not fit for it; nothing was changed.
        Unknown: It fell silent in the middle.
    """
    target.send(release, bundle(suite), log)
    goal = release.id if release else NONE
    log.note(target.preflight(run_id, goal, generation, over_drift=True, log=log).summary)
    try:
        target.activate(run_id, log)
        verify.check(target, run_id, log.stage, suite, log, tests=StageName.SMOKE)
        target.confirm(run_id, log)
    except Unknown:
        raise
    except (ActivationFailed, ChecksFailed, TargetTrouble) as error:
        log.line(f"{error}; returning to what ran before")
        target.undo(run_id, log)
        raise RollbackFailed(
            f"generation {generation} could not be returned to ({error.what}); what ran before runs again",
            where=error.where,
            mend="see the stage's log; choose another generation with --to",
        ) from error
