"""The reader of run-tests' stream, and what becomes of a stage; the far side is a recorded stream here."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tests import runner
from host_tests.frames import Begin, Demultiplexer, Done, End
from host_tests.runner import StageVerdict, raise_for, run_stage
from server.core.errors import ChecksFailed, TargetTrouble, VmTrouble
from server.core.model import CheckRow, Counts
from server.core.process import Result
from server.core.states import StageName


class Log:
    """A StageLog that remembers."""

    stage = StageName.SMOKE

    def __init__(self, stopped: bool = False) -> None:
        self.lines: list[str] = []
        self.data = b""
        self.rows: list[CheckRow] = []
        self.cancelled = stopped

    def line(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.data += data

    def check(self, row: CheckRow) -> None:
        self.rows.append(row)

    def note(self, reason: str) -> None:
        pass

    def stopped(self) -> bool:
        return self.cancelled


def frames(*files: tuple[str, bytes, str], done: bool = True) -> bytes:
    parts = [
        f"#toto:N begin {name}\n".encode() + data + f"\n#toto:N end {name} {end}\n".encode()
        for name, data, end in files
    ]
    return b"".join(parts) + (b"#toto:N done\n" if done else b"")


def stage(
    stream: bytes, expected: list[str], *, code: int = 0, timed_out: bool = False, stderr: bytes = b"",
    log: Log | None = None, during: Callable[..., None] | None = None, **options: Any
) -> tuple[StageVerdict, Log]:  # fmt: skip
    log = log or Log()

    def run(command: str, *, timeout: float, on_stdout: Any, on_stderr: Any, stop: Any) -> Result:
        on_stderr(stderr)
        on_stdout(stream)
        if during:
            during(stop)
        return Result((command,), code, b"", b"", 1.0, timed_out)

    verdict = run_stage(run, "run-tests", StageName.SMOKE, expected, log, nonce="N", timeout=9, host="web", **options)
    return verdict, log


GOOD = b"1..1\nok 1 - fine\n"
BAD = b"1..3\nok 1 - a\nnot ok 2 - nginx answers\n# got 502\nnot ok 3 - c\n"


def test_all_good() -> None:
    verdict, log = stage(frames(("stock/ssh", GOOD, "0"), ("10-http.sh", GOOD, "0")), ["stock/ssh", "10-http.sh"])
    assert verdict.ok
    assert (verdict.counts, verdict.problems) == (Counts(2, 0, 0, 0), ())
    assert [(row.file, row.number, row.ok, row.description) for row in log.rows] == [
        ("stock/ssh", 1, True, "fine"),
        ("10-http.sh", 2, True, "fine"),
    ]
    assert b"#toto:" not in log.data
    assert b"ok 1 - fine" in log.data
    assert "--- 10-http.sh" in log.lines
    raise_for(verdict)


def test_a_failure_is_named_in_one_sentence() -> None:
    verdict, log = stage(frames(("10-http.sh", BAD, "1"), ("20.sh", b"1..2\nok 1\n", "0")), ["10-http.sh", "20.sh"])
    with pytest.raises(ChecksFailed) as raised:
        raise_for(verdict)
    assert str(raised.value) == "10-http.sh: not ok 2 - nginx answers (and 2 more)"
    assert log.rows[1].diagnostics == "got 502"
    assert verdict.counts == Counts(2, 3, 0, 0)
    assert sum(not row.ok for row in log.rows) == 3  # the short plan has a row of its own
    assert log.rows[-1].description == "too short: 2 checks planned, 1 ran"


def test_directives_subtests_and_whole_skips_are_rows() -> None:
    nested = b"# Subtest: s\n    1..1\n    ok 1 - in\nok 1 - s\nnot ok 2 - t # TODO later\nok 3 # SKIP no\n1..3\n"
    verdict, log = stage(frames(("a", nested, "0"), ("b", b"1..0 # SKIP not here\n", "0")), ["a", "b"])
    assert verdict.ok
    assert verdict.counts == Counts(1, 0, 2, 1)
    assert [(row.depth, row.directive, row.ok) for row in log.rows] == [
        (1, None, True), (0, None, True), (0, "todo", True), (0, "skip", True), (0, "skip", True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("124 timeout", "a: did not end in time and was killed, after 1 of 1 check"),
        ("137 cut", "a: printed more than it may and was killed, after 1 of 1 check"),
        ("3", "a: ended with exit code 3, though no check failed"),
    ],
)
def test_bad_ends(end: str, sentence: str) -> None:
    verdict, _ = stage(frames(("a", GOOD, end)), ["a"])
    assert not verdict.ok
    assert sentence in verdict.problems


def test_an_expected_file_that_did_not_run_is_never_green() -> None:
    verdict, log = stage(frames(("a", GOOD, "0")), ["a", "b"])
    assert not verdict.ok
    assert "b: did not run: the file was not there" in verdict.problems
    assert [row.ok for row in log.rows] == [True, False]


def test_a_file_without_its_end_is_never_green() -> None:
    verdict, _ = stage(b"#toto:N begin a\n1..1\nok 1\n", ["a"], code=1, stderr=b"run-tests: disk full\n")
    assert not verdict.ok
    assert "ended early, with 1: run-tests: disk full" in verdict.problems[0]
    verdict, _ = stage(b"#toto:N begin a\n1..1\nok 1\n" + frames(("b", GOOD, "0")), ["a", "b"])
    assert not verdict.ok
    assert [file.verdict.ok for file in verdict.files] == [False, True]


def test_everything_ran_but_done_is_missing() -> None:
    verdict, _ = stage(frames(("a", GOOD, "0"), done=False), ["a"], code=0)
    assert not verdict.ok


def test_nothing_expected_is_not_green() -> None:
    assert not stage(frames(), [])[0].ok


@pytest.mark.parametrize("trouble", [VmTrouble, TargetTrouble])
def test_a_lost_connection_is_trouble_and_not_a_verdict(trouble: type[VmTrouble]) -> None:
    with pytest.raises(trouble, match="connection to web was lost while a ran"):
        stage(b"#toto:N begin a\n1..1\nok 1\n", ["a"], code=255, trouble=trouble)


def test_a_test_that_exits_255_is_no_lost_connection() -> None:
    verdict, _ = stage(frames(("a", b"1..1\nok 1\n", "255")), ["a"], code=255)
    assert not verdict.ok


def test_time_out_of_the_stage() -> None:
    stream = frames(("a", GOOD, "0"), done=False) + b"#toto:N begin b\n"
    verdict, _ = stage(stream, ["a", "b", "c"], code=-15, timed_out=True)
    assert not verdict.ok
    assert verdict.problems[0] == "the stage's tests did not end within 9 s"
    assert "c: did not run: the stage's tests did not end within 9 s" in verdict.problems


def test_cancelled() -> None:
    verdict, _ = stage(b"#toto:N begin a\n", ["a"], code=-15, timed_out=True, log=Log(stopped=True))
    assert verdict.problems[0] == "the run was cancelled"


def test_stop_asks_the_log_and_settles_the_last_check(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(runner, "SETTLE", -1)
    monkeypatch.setattr(runner, "ASK", -1)

    def during(stop: Callable[[], bool]) -> None:
        assert log.rows == []
        assert stop() is False
        assert [row.description for row in log.rows] == ["live"]
        log.cancelled = True
        assert stop() is True

    stage(b"#toto:N begin a\nok 1 - live\n", ["a"], timed_out=True, log=log, during=during)


def test_a_host_without_tests_is_said_plainly() -> None:
    _, log = stage(frames(("stock/ssh", GOOD, "0")), ["stock/ssh"], tests=StageName.NO_INTERNET)
    assert "web has no no-internet tests; only the stock checks run" in log.lines


def test_rows_of_a_flood_are_bounded_and_the_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_ROWS", 5)
    many = b"".join(b"ok %d\n" % number for number in range(1, 20)) + b"not ok 20\n1..20\n"
    verdict, log = stage(frames(("a", many, "1")), ["a"])
    assert [row.number for row in log.rows] == [1, 2, 3, 4, 5, 20]
    assert verdict.counts == Counts(19, 1, 0, 0)


def test_frames_of_another_nonce_are_output() -> None:
    verdict, log = stage(frames(("a", b"1..1\n#toto:X end a 0\n#toto:N nonsense\nok 1\n", "0")), ["a"])
    assert verdict.ok
    assert b"#toto:X end a 0" in log.data


@given(st.lists(st.integers(0, 120), max_size=6))
def test_pieces_do_not_change_what_is_read(cuts: list[int]) -> None:
    stream = b"motd\n" + frames(("a", b"ok 1\n#toto", "0"), ("b/c", b"#toto:N\n\n#toto:N", "124 timeout"))
    seen: list[object] = []
    data: list[bytes] = []
    reader = Demultiplexer("N", seen.append, data.append)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(places):
        reader.feed(stream[start:end])
    reader.close()
    assert seen == [Begin("a"), End("a", 0, False, False), Begin("b/c"), End("b/c", 124, True, False), Done()]
    assert b"".join(data) == b"motd\nok 1\n#toto\n#toto:N\n\n#toto:N\n"


def test_output_is_handed_on_at_once() -> None:
    data: list[bytes] = []
    reader = Demultiplexer("N", lambda _: None, data.append)
    reader.feed(b"ok 1\n")
    assert data == [b"ok 1\n"]
    reader.feed(b"#to")
    assert b"".join(data) == b"ok 1\n"
    reader.feed(b"day\n")
    assert b"".join(data) == b"ok 1\n#today\n"
