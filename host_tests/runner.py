"""Runs a stage's tests somewhere else, and judges them while they run.

The far side is `lib/run-tests`, in a VM or on a target alike; the caller's `run` (`server.core.ssh`) reaches it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from host_tests.frames import Begin, Demultiplexer, Done, End, Frame
from host_tests.judge import Judge
from host_tests.judge_command import summary
from host_tests.tap_document import Check
from host_tests.verdict import Verdict
from server.core.errors import ChecksFailed, Trouble, VmTrouble
from server.core.model import CheckRow, Counts
from server.core.process import Result
from server.core.recorder import StageLog
from server.core.ssh import LOST
from server.core.states import StageName

TESTED = (StageName.NO_INTERNET, StageName.WITH_INTERNET, StageName.SMOKE, StageName.POST_SWITCH)
"""Stages for which a host may have tests of its own."""
SETTLE = 0.4
"""Seconds without output after which the last check is told, though its diagnostics might go on."""
ASK = 0.5
"""Seconds between two questions whether the run was cancelled."""
MAX_ROWS = 5000
"""Check rows of one stage; after that failed ones alone are recorded, and after twice as many none."""
STDERR_TAIL = 2000
"""Bytes of the end of stderr that explain why the command ended early."""


@dataclass(frozen=True)
class FileVerdict:
    """How one test file did."""

    name: str
    verdict: Verdict

    @property
    def failures(self) -> tuple[str, ...]:
        """Its failed checks, else what is wrong with its output; nothing where it is ok."""
        if self.verdict.ok:
            return ()
        failed = tuple(str(check) for check in self.verdict.checks if not check.good)
        return failed or self.verdict.problems[:1] or ("it failed",)


@dataclass(frozen=True)
class StageVerdict:
    """How a stage's tests did.

    Attributes:
        ok: Every expected file ran to its end and is ok.
        files: One verdict for each file, expected ones that never ran included.
        passed: Top-level checks; with `failed`, `skipped` and `todo` the same counts as the recorded rows of depth 0. A
            file that failed without a failed check counts as one failed, a file skipped as a whole as one skipped.
        problems: Sentences on files' outputs (`FILE: …`) and on the stage as a whole.
    """

    ok: bool
    files: tuple[FileVerdict, ...]
    passed: int
    failed: int
    skipped: int
    todo: int
    problems: tuple[str, ...]

    @property
    def counts(self) -> Counts:
        """The counts as the stage's record wants them."""
        return Counts(self.passed, self.failed, self.skipped, self.todo)


def raise_for(verdict: StageVerdict) -> None:
    """Do nothing for a stage that is ok.

    Raises:
        ChecksFailed: It is not; the sentence names the first failed check, else the first problem.
    """
    if verdict.ok:
        return
    said = [f"{file.name}: {failure}" for file in verdict.files for failure in file.failures]
    said = said or list(verdict.problems) or ["the tests gave no verdict"]
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    raise ChecksFailed(said[0] + more)


def run_stage(
    run: Callable[..., Result],
    command: str,
    stage: StageName,
    expected: Sequence[str],
    log: StageLog,
    *,
    nonce: str,
    timeout: float,
    host: str = "the host",
    tests: StageName | None = None,
    trouble: type[Trouble] = VmTrouble,
    first_number: int = 1,
) -> StageVerdict:
    """Run a stage's tests and judge them as they come.

    Args:
        run: Starts `command` on the other machine; `server.core.ssh.Ssh.run`, or a function with its arguments
            `timeout`, `on_stdout`, `on_stderr` and `stop`.
        command: The shell command there that starts `run-tests`.
        stage: The stage that the check rows belong to.
        expected: Labels of the files that have to run (`Suite.expected`).
        log: The stage's log and record; rows come in the order of the output, so a subtest's before its closing point.
        nonce: What `command` gives to `--nonce`.
        timeout: Seconds for all of it.
        host: The host's name, for messages.
        tests: Stage whose tests these are, where it is not `stage` (`upgrade` runs those of `no-internet`).
        trouble: What is raised where the connection is lost: `VmTrouble` or `TargetTrouble`.
        first_number: Number of the first check row, where the stage has rows already.

    Raises:
        Trouble: Of the class `trouble`: the connection was lost, so nothing is known.
    """
    if (tests or stage) in TESTED and all(name.startswith("stock/") for name in expected):
        log.line(f"{host} has no {tests or stage} tests; only the stock checks run")
    reader = _Reader(stage, log, nonce, first_number)
    result = run(command, timeout=timeout, on_stdout=reader.stdout, on_stderr=reader.stderr, stop=reader.stop)
    reader.close()
    if not reader.done and result.code == LOST and not result.timed_out:
        at = f" while {reader.current} ran" if reader.current else ""
        raise trouble(
            f"the connection to {host} was lost{at}: {reader.last_words or 'no message from ssh'}",
            where=f"stage {stage}",
            mend=f"look at the console or the network of {host}, then retry the run",
        )
    problems = _missing(reader, expected, result, log, timeout, host)
    return reader.verdict(expected, problems)


def _missing(
    reader: _Reader, expected: Sequence[str], result: Result, log: StageLog, timeout: float, host: str
) -> list[str]:
    """Give files that did not end their verdicts, and say why the stage as a whole is not complete, if so."""
    if log.stopped() and not reader.done:
        why = "the run was cancelled"
    elif result.timed_out:
        why = f"the stage's tests did not end within {timeout:g} s"
    elif not reader.done:
        words = f": {reader.last_words}" if reader.last_words else ""
        why = f"the command that runs the tests on {host} ended early, with {result.code}{words}"
    else:
        why = "the file was not there" if any(name not in reader.verdicts for name in expected) else ""
    if reader.current:
        reader.end(End(reader.current, 0, timed_out=False, cut=False), aborted=why)
    for name in expected:
        if name not in reader.verdicts:
            reader.never_ran(name, why)
    problems = [why] if why else []
    return problems if expected else [*problems, "nothing was checked: there is no test for this stage"]


class _Reader:
    """Takes the streams of one stage: raw output to the log, checks to the record, verdicts kept."""

    def __init__(self, stage: StageName, log: StageLog, nonce: str, first_number: int) -> None:
        self._stage = stage
        self._log = log
        self._frames = Demultiplexer(nonce, self._frame, self._output)
        self._judge: Judge | None = None
        self._number = first_number
        self._rows = 0
        self._heard = self._asked = time.monotonic()
        self._began = 0.0
        self._stopped = False
        self._tail = bytearray()
        self._counts = Counts()
        self.current = ""
        self.done = False
        self.verdicts: dict[str, Verdict] = {}

    # What process.run calls

    def stdout(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self._frames.feed(data)

    def stderr(self, data: bytes) -> None:
        self._log.write(data)
        self._tail = (self._tail + data[-STDERR_TAIL:])[-STDERR_TAIL:]

    def stop(self) -> bool:
        now = time.monotonic()
        if self._judge is not None and now - self._heard > SETTLE:
            self._judge.settle()
        if now - self._asked > ASK:
            self._asked = now
            self._stopped = self._log.stopped()
        return self._stopped

    def close(self) -> None:
        self._frames.close()

    @property
    def last_words(self) -> str:
        """The last line of stderr."""
        lines = self._tail.decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""

    # What the stream says

    def _frame(self, frame: Frame) -> None:
        match frame:
            case Begin(name):
                if self.current:
                    self.end(End(self.current, 0, timed_out=False, cut=False), aborted="another test began")
                self._begin(name)
            case End():
                if frame.name == self.current:
                    self.end(frame)
            case Done():
                self.done = True

    def _begin(self, name: str) -> None:
        self.current = name
        self._judge = Judge(self._check)
        self._began = time.monotonic()
        self._log.line(f"--- {name}")

    def _output(self, data: bytes) -> None:
        self._log.write(data)
        if self._judge is not None:
            self._judge.feed(data)

    def end(self, frame: End, aborted: str = "") -> None:
        """The current file has ended; `aborted` says why its end was not seen, if so."""
        assert self._judge is not None  # noqa: S101 - `current` is set together with it
        verdict = self._judge.finish(None if aborted else frame.code, timed_out=frame.timed_out, output_cut=frame.cut)
        if aborted:
            verdict = replace(verdict, ok=False, problems=(f"did not end: {aborted}", *verdict.problems))
        name, self.current, self._judge = self.current, "", None
        self._keep(name, verdict)
        took = time.monotonic() - self._began
        self._log.line(f"{name}: {summary(verdict)}, {took:.1f} s")
        for problem in verdict.problems:
            self._log.line(f"{name}: {problem}")

    def never_ran(self, name: str, why: str) -> None:
        """An expected file did not begin."""
        problem = f"did not run: {why}"
        self._keep(name, Verdict(False, None, 0, 0, 0, 0, False, (problem,), ()))
        self._log.line(f"{name}: {problem}")

    def _keep(self, name: str, verdict: Verdict) -> None:
        if name in self.verdicts:
            verdict = replace(verdict, ok=False, problems=("ran twice", *verdict.problems))
        self.verdicts[name] = verdict
        if not verdict.ok and all(check.good for check in verdict.checks):
            first, *others = verdict.problems or ("it failed",)
            self._row(name, Check(0, False, first, diagnostics="\n".join(others) or None))
        elif verdict.ok and verdict.skip_all is not None:
            self._row(name, Check(0, True, "the whole test", "skip", verdict.skip_all or None))

    def _check(self, check: Check) -> None:
        self._row(self.current, check)

    def _row(self, name: str, check: Check) -> None:
        if self._rows < MAX_ROWS or (not check.good and self._rows < 2 * MAX_ROWS):
            self._rows += 1
            self._log.check(
                CheckRow(
                    stage=self._stage, file=name, number=self._number, ok=check.good, description=check.description,
                    directive=check.directive, reason=check.reason, diagnostics=check.diagnostics, depth=check.depth,
                )
            )  # fmt: skip
            if self._rows == MAX_ROWS:
                self._log.line(f"{MAX_ROWS} checks are recorded; from here on the failed ones alone (this log has all)")
        self._number += 1
        if check.depth == 0:
            kind = {"skip": "skipped", "todo": "todo"}.get(check.directive or "", "passed" if check.ok else "failed")
            self._counts = replace(self._counts, **{kind: getattr(self._counts, kind) + 1})

    def verdict(self, expected: Sequence[str], problems: list[str]) -> StageVerdict:
        """All of it together, expected files first and in their order."""
        order = [*expected, *(name for name in self.verdicts if name not in expected)]
        files = tuple(FileVerdict(name, self.verdicts[name]) for name in order)
        said = [f"{file.name}: {problem}" for file in files for problem in file.verdict.problems]
        counts = self._counts
        return StageVerdict(
            ok=not problems and all(file.verdict.ok for file in files),
            files=files,
            passed=counts.passed,
            failed=counts.failed,
            skipped=counts.skipped,
            todo=counts.todo,
            problems=(*problems, *said),
        )
