"""What `toto judge` prints."""

from __future__ import annotations

import json

from host_tests.judge_command import judge_command


def test_good_output_is_one_line() -> None:
    assert judge_command(b"1..2\nok 1 - a\nok 2 # SKIP no net\n", 0, False) == (
        "ok: 1 passed, 1 skipped (2 planned)",
        0,
    )


def test_failures_come_with_their_diagnostics_and_subtests() -> None:
    data = b"1..2\n# Subtest: pages\n    1..1\n    not ok 1 - front\n    # got 502\nnot ok 1 - pages\nok 2\n"
    text, code = judge_command(data, 1, False)
    assert code == 1
    assert text.splitlines() == [
        "NOT OK: 1 passed, 1 failed (2 planned)",
        "  not ok 1 - pages",
        "      not ok 1 - front",
        "          got 502",
    ]


def test_problems_are_listed() -> None:
    text, code = judge_command(b"ok 1\n", 0, False)
    assert code == 1
    assert "  - a plan is missing (1..1 was due)" in text.splitlines()


def test_exit_code_counts() -> None:
    text, code = judge_command(b"1..1\nok 1\n", 3, False)
    assert code == 1
    assert "exit code 3" in text


def test_a_passing_todo_is_noted() -> None:
    assert "passes, though it is marked TODO" in judge_command(b"1..1\nok 1 - a # TODO b\n", 0, False)[0]


def test_skipped_as_a_whole() -> None:
    assert judge_command(b"1..0 # SKIP no net\n", 0, False) == ("ok: skipped as a whole: no net", 0)


def test_json() -> None:
    text, code = judge_command(b"1..1\nnot ok 1\n", 1, True)
    assert (json.loads(text)["failed"], code) == (1, 1)
