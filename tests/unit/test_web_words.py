"""How values look in words, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server.core.model import CheckRow, Counts, Host, Run, Stage
from server.core.states import Backend, Cause, HostState, RunState, StageName, StageState
from server.web import words

NOW = datetime(2026, 11, 3, 14, 5, 9, tzinfo=UTC)
RUN = Run("7", "home", "web", "9f3c2ab" + "0" * 33, Cause.PUSH, RunState.FAILED, NOW)
HOST = Host("web", "home", Backend.DEBIAN, HostState.CURRENT, generation=17)


def stage(name: StageName, state: StageState = StageState.PASSED, **values: object) -> Stage:
    started = None if state in (StageState.WAITING, StageState.SKIPPED) else NOW
    return replace(Stage(name, state, started), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (20, "20 s ago"),
        (240, "4 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 d ago"),
        (9e6, "2026-07-22"),
    ],
)
def test_a_moment_is_told_from_now(seconds: float, said: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (5.13, "5.1 s"),
        (9.96, "10 s"),
        (58, "58 s"),
        (59.7, "1 min"),
        (82, "1 min 22 s"),
        (7380, "2 h 3 min"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, said: str) -> None:
    assert words.span(seconds) == said


def test_a_failed_run_names_the_check_and_says_that_the_target_was_not_touched() -> None:
    stages = [
        stage(StageName.BUILD),
        stage(StageName.NO_INTERNET, StageState.FAILED, counts=Counts(6, 1)),
        stage(StageName.TEST, StageState.SKIPPED),
    ]
    failed = [CheckRow(StageName.NO_INTERNET, "10-http.sh", 1, False, "nginx answers")]
    run = replace(RUN, reason="no-internet: 10-http.sh: not ok 1 - nginx answers")
    why = words.why(run, stages, failed, HOST)
    assert why is not None
    assert why.lead == "1 of 7 checks in no-internet says no: nginx answers."
    assert why.more == "web was not touched: it still runs generation 17."
    assert why.tone == "bad"


def test_an_error_is_told_as_ours_and_keeps_what_to_do() -> None:
    stages = [stage(StageName.BUILD), stage(StageName.TEST, StageState.ERROR)]
    run = replace(RUN, state=RunState.ERROR, reason="test: web:22: no route; see that it is up")
    why = words.why(run, stages, [], HOST)
    assert why is not None
    assert why.lead == "toto could not find out in test."
    assert why.more == "web:22: no route; see that it is up."


def test_a_run_that_touched_the_target_never_claims_it_did_not() -> None:
    stages = [stage(StageName.TEST), stage(StageName.SMOKE, StageState.FAILED, counts=Counts(0, 1))]
    why = words.why(replace(RUN, reason="smoke: broken"), stages, [], HOST)
    assert why is not None
    assert "not touched" not in why.more


@pytest.mark.parametrize("state", list(RunState))
def test_every_end_has_a_sentence(state: RunState) -> None:
    why = words.why(replace(RUN, state=state, reason="because"), [stage(StageName.BUILD)], [], HOST)
    assert (why is None) == (state is RunState.RUNNING)
    if why is not None:
        assert why.lead.endswith(".")


def test_a_running_run_is_named_by_its_stage_and_a_failed_one_by_its_place() -> None:
    running = [stage(StageName.BUILD), stage(StageName.SMOKE, StageState.RUNNING)]
    assert words.headline(replace(RUN, state=RunState.RUNNING), running) == "smoke"
    failed = [stage(StageName.BUILD), stage(StageName.BOOT, StageState.FAILED)]
    assert words.headline(RUN, failed) == "failed in boot"


def test_colour_is_known_for_every_state_and_never_says_good_of_a_bad_end() -> None:
    good = {state for state in RunState if words.tone(state) == "good"}
    assert good == {RunState.GOOD, RunState.REHEARSED, RunState.NO_OP}
    assert {state for state in HostState if words.tone(state) == "good"} == {HostState.CURRENT}
    assert {state for state in StageState if words.tone(state) == "good"} == {StageState.PASSED}


def test_only_backticks_become_markup() -> None:
    text = "run `toto unhold <b>` or <i>`x`</i> `"
    assert words.ticks(text) == "run <code>toto unhold &lt;b&gt;</code> or &lt;i&gt;<code>x</code>&lt;/i&gt; `"
