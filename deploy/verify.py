"""Tests on the real machine: the stages `smoke` and `post-switch`, with or without an activation before them."""

from __future__ import annotations

from deploy.backend import TargetBackend
from host_tests.suite_values import Suite
from server.core.recorder import StageLog
from server.core.states import StageName


def check(
    target: TargetBackend, run_id: str, stage: StageName, suite: Suite, log: StageLog, *, tests: StageName | None = None
) -> None:
    """Run a stage's tests on the target and judge them live.

    Args:
        target: The machine.
        run_id: The run.
        stage: The stage that the checks belong to.
        suite: The host's tests.
        log: The stage.
        tests: Whose tests, where they are not the stage's own.

    Raises:
        ChecksFailed: They said no.
        TargetTrouble: The connection was lost: nothing is known.
    """
    target.run_tests(run_id, stage, suite, log, tests=tests)
