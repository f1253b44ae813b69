"""What a verdict is, beside the corpus: live checks, limits, endings, speed, and properties."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tests import judge as judge_module
from host_tests.judge import Check, Judge, Verdict, judge


def told(data: bytes) -> list[tuple[int, str, int]]:
    seen: list[tuple[int, str, int]] = []
    reader = Judge(lambda check: seen.append((check.depth, check.description, check.number)))
    reader.feed(data)
    reader.finish()
    return seen


def test_checks_are_told_live_with_their_diagnostics() -> None:
    seen: list[Check] = []
    reader = Judge(seen.append)
    reader.feed(b"1..2\nnot ok 1 - a\n# why\n")
    assert seen == []
    reader.feed(b"ok 2 - b\n")
    assert [(check.number, check.diagnostics) for check in seen] == [(1, "why")]
    reader.finish()
    assert [check.number for check in seen] == [1, 2]


def test_settle_tells_the_last_check_once() -> None:
    seen: list[Check] = []
    reader = Judge(seen.append)
    reader.feed(b"ok 1 - a\n")
    reader.settle()
    reader.settle()
    assert [check.description for check in seen] == ["a"]
    reader.feed(b"# late\n1..1\n")
    verdict = reader.finish()
    assert len(seen) == 1
    assert verdict.checks[0].diagnostics == "late"


def test_nested_checks_come_before_their_parent_with_a_depth() -> None:
    data = b"# Subtest: p\n    # Subtest: q\n        ok 1 - x\n        1..1\n    ok 1 - q\n    1..1\nok 1 - p\n1..1\n"
    assert told(data) == [(2, "x", 1), (1, "q", 1), (0, "p", 1)]


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        ({"exit_code": None}, "its end was not seen, after 1 of 2 checks"),
        ({"timed_out": True, "exit_code": 124}, "did not end in time and was killed, after 1 of 2 checks"),
        ({"output_cut": True, "exit_code": 137}, "printed more than it may and was killed, after 1 of 2 checks"),
        ({"exit_code": -9}, "was ended by SIGKILL (exit code -9)"),
        ({"exit_code": 143}, "was ended by SIGTERM (exit code 143)"),
    ],
)
def test_bad_endings_fail_and_say_so(ending: dict[str, object], sentence: str) -> None:
    reader = Judge()
    reader.feed(b"1..2\nok 1\n")
    verdict = reader.finish(**ending)  # type: ignore[arg-type]
    assert not verdict.ok
    assert sentence in verdict.problems


@pytest.mark.parametrize("ending", [{"exit_code": None}, {"timed_out": True}, {"output_cut": True}, {"exit_code": 1}])
def test_a_complete_output_does_not_excuse_a_bad_ending(ending: dict[str, object]) -> None:
    reader = Judge()
    reader.feed(b"1..1\nok 1\n")
    verdict = reader.finish(**ending)  # type: ignore[arg-type]
    assert not verdict.ok
    assert verdict.problems


def test_json_has_the_fields_of_the_contract() -> None:
    said = judge(b"1..1\nok 1 - a # SKIP b\n").to_json()
    assert set(said) - {"bail_out_reason"} == {
        "ok", "planned", "passed", "failed", "skipped", "todo", "bailed_out", "problems", "checks"
    }  # fmt: skip
    check = {"number": 1, "ok": True, "description": "a", "directive": "skip", "reason": "b"}
    assert said["checks"] == [{**check, "diagnostics": None, "subtests": []}]
    assert said["bailed_out"] is False


def test_a_hundred_thousand_checks_take_seconds() -> None:
    data = b"1..100000\n" + b"".join(b"ok %d - one of many\n" % number for number in range(1, 100_001))
    began = time.monotonic()
    verdict = judge(data)
    assert verdict.ok
    assert verdict.passed == 100_000
    assert time.monotonic() - began < 10


def test_yaml_blocks_do_not_slow_it_to_a_crawl() -> None:
    block = b"  ---\n  duration_ms: 1.5\n  list: [a, {b: c}]\n  ...\n"
    data = b"TAP version 13\n1..10000\n" + b"".join(b"ok %d\n%s" % (number, block) for number in range(1, 10_001))
    began = time.monotonic()
    assert judge(data).ok
    assert time.monotonic() - began < 4.5  # tap.py's own 2,200 a second would need that long


def test_a_flood_of_noise_is_passed_over_quickly() -> None:
    began = time.monotonic()
    verdict = judge(b"1..1\n" + b"noise\n" * 3_000_000 + b"ok 1\n")
    assert verdict.ok
    assert time.monotonic() - began < 8


def test_an_endless_line_costs_no_memory() -> None:
    reader = Judge()
    reader.feed(b"1..1\n")
    for _ in range(200):
        reader.feed(b"x" * 1_000_000)
        assert len(reader._partial) <= judge_module.LINE_LIMIT
    reader.feed(b"\nok 1\n")
    assert reader.finish().ok


def test_diagnostics_are_bounded() -> None:
    verdict = judge(b"1..1\nnot ok 1\n" + b"# a long diagnostic line\n" * 50_000)
    assert verdict.checks[0].diagnostics is not None
    assert len(verdict.checks[0].diagnostics) < 2 * judge_module.DIAGNOSTICS
    assert "more was printed" in verdict.checks[0].diagnostics


def test_too_many_checks_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "MAX_CHECKS", 10)
    verdict = judge(b"1..11\n" + b"ok\n" * 11)
    assert not verdict.ok
    assert verdict.problems[0] == "more than 10 checks; only so many are judged"
    assert len(verdict.checks) == 10


def test_too_deep_subtests_fail() -> None:
    lines = [b" " * 4 * depth + b"1..1" for depth in range(60)]
    assert not judge(b"\n".join(lines)).ok


def test_problems_are_bounded() -> None:
    verdict = judge(b"ok 1\n" * 5000 + b"1..5000\n")
    assert len(verdict.problems) < 30
    assert "more problems" in verdict.problems[-1]


def test_control_characters_do_not_reach_the_pages() -> None:
    description = judge(b"1..1\nok 1 - a\x00b\x1b[31mc\x08\xc2\x9bd\n").checks[0].description
    assert description == "abcd"


LINES = st.sampled_from([
    b"1..1", b"1..2", b"1..0", b"1..0 # SKIP x", b"ok", b"ok 1", b"ok 2 - b", b"not ok 1 - c", b"not ok 2 # TODO d",
    b"ok 1 # SKIP", b"    ok 1", b"    not ok 1", b"    1..1", b"# Subtest: s", b"    # Subtest: t", b"        ok 1",
    b"# note", b"  ---", b"  a: b", b"  ...", b"  [", b"TAP version 14", b"TAP version 13", b"Bail out!", b"noise", b"",
    b"\x1b[32mok 1\x1b[0m", b"ok 1\r", b"\xff\xfe", b"pragma +strict", b"okay", b"  ok 3", b"      ---", b"      ...",
])  # fmt: skip
OUTPUTS = st.one_of(st.binary(max_size=300), st.lists(LINES, max_size=25).map(b"\n".join))


@settings(max_examples=300, deadline=None)
@given(data=OUTPUTS, cuts=st.lists(st.integers(0, 400), max_size=8), code=st.sampled_from([0, 0, 0, 1, 255]))
def test_boundaries_never_change_the_verdict(data: bytes, cuts: list[int], code: int) -> None:
    reader = Judge()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        reader.feed(data[start:end])
    assert reader.finish(code) == judge(data, code)


@settings(max_examples=600, deadline=None)
@given(data=OUTPUTS, code=st.sampled_from([0, 0, 0, 1]))
def test_never_ok_without_evidence(data: bytes, code: int) -> None:
    verdict = judge(data, code)
    if not verdict.ok:
        assert verdict.problems or verdict.failed
        return
    assert code == 0
    assert verdict.planned == len(verdict.checks)
    assert verdict.planned or verdict.skip_all is not None
    assert not verdict.bailed_out
    assert not verdict.failed
    assert all(sound(check) for check in verdict.checks)
    assert b"Bail out!" not in data or b"---" in data


def sound(check: Check) -> bool:
    return check.directive is not None or (check.ok and all(sound(nested) for nested in check.subtests))


@settings(max_examples=200, deadline=None)
@given(data=OUTPUTS)
def test_counts_cover_every_top_level_check_and_all_are_told(data: bytes) -> None:
    seen: list[Check] = []
    reader = Judge(seen.append)
    reader.feed(data)
    verdict: Verdict = reader.finish()
    assert verdict.passed + verdict.failed + verdict.skipped + verdict.todo == len(verdict.checks)
    assert [check for check in seen if check.depth == 0] == list(verdict.checks)
