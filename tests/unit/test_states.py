"""States and exit codes."""

from __future__ import annotations

import pytest

from server.core.states import Action, RunState, StageName, stages_for, worst_exit_code


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("good", 0), ("rehearsed", 0), ("no-op", 0), ("failed", 1), ("rolled-back", 3), ("rollback-failed", 4),
        ("error", 5), ("superseded", 6), ("cancelled", 6), ("held", 6),
    ],
)  # fmt: skip
def test_exit_codes_are_those_of_the_design(state: str, code: int) -> None:
    assert RunState(state).exit_code == code
    assert RunState(state).final


def test_of_several_runs_the_worst_is_told() -> None:
    assert worst_exit_code([]) == 0
    assert worst_exit_code([RunState.GOOD, RunState.SUPERSEDED]) == 6
    assert worst_exit_code([RunState.SUPERSEDED, RunState.FAILED, RunState.GOOD]) == 1
    assert worst_exit_code([RunState.FAILED, RunState.ROLLED_BACK]) == 3
    assert worst_exit_code([RunState.ERROR, RunState.ROLLBACK_FAILED, RunState.FAILED]) == 4


def test_a_test_only_run_activates_nothing() -> None:
    stages = stages_for(Action.TEST)
    assert StageName.SMOKE in stages
    assert not {StageName.TEST, StageName.SWITCH, StageName.PROMOTE} & set(stages)
    assert stages_for(Action.NONE) == ()
