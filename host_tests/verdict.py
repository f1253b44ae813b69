"""What a TAP output proves, and the sentences on how it ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from host_tests.tap_document import Check, Document, checks


@dataclass(frozen=True)
class Verdict:
    """What a TAP output proves.

    Attributes:
        ok: Whether it is evidence that all is well.
        planned: Number of the plan; None without one.
        passed: Top-level points that are ok, without a directive; `failed`, `skipped` and `todo` count the others.
        bailed_out: Whether it said `Bail out!`, with `bail_out_reason`.
        problems: Sentences on the output itself (no plan, exit code, time-out, …); failed checks are not repeated here.
            A malformed YAML block is a problem that leaves `ok` as it is.
        checks: Top-level points, with their subtests.
        skip_all: Reason of a plan `1..0 # SKIP reason`; None otherwise.
    """

    ok: bool
    planned: int | None
    passed: int
    failed: int
    skipped: int
    todo: int
    bailed_out: bool
    problems: tuple[str, ...]
    checks: tuple[Check, ...]
    bail_out_reason: str | None = None
    skip_all: str | None = None

    def to_json(self) -> dict[str, object]:
        """The fields of DESIGN's `judge`, and `bail_out_reason`."""
        return {
            "ok": self.ok,
            "planned": self.planned,
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "todo": self.todo,
            "bailed_out": self.bailed_out,
            "bail_out_reason": self.bail_out_reason,
            "problems": list(self.problems),
            "checks": [check.to_json() for check in self.checks],
        }


def ended_early(
    bail: str | None, exit_code: int | None, timed_out: bool, output_cut: bool, root: Document
) -> list[str]:
    """Why the output is not whole, if so; then a short plan is no news."""
    of = f"{root.count} of {checks(root.planned)}" if root.planned else f"{checks(root.count)}, without a plan"
    after = f"after {of}"
    said = []
    if bail is not None:
        said.append(f"bailed out: {bail}" if bail else "bailed out, without a reason")
    if timed_out:
        said.append(f"did not end in time and was killed, {after}")
    if output_cut:
        said.append(f"printed more than it may and was killed, {after}")
    if exit_code is None and not said:
        said.append(f"its end was not seen, {after}")
    return said


def exit_problem(code: int | None, root: Document) -> str | None:
    """A sentence on a bad exit code; failed checks explain a small one by themselves."""
    if not code or (root.failed and 0 < code < 126):
        return None
    if code == 126:
        return "could not be executed (exit code 126)"
    if code == 127:
        return "a command was not found (exit code 127): the test's interpreter, or what it called last"
    number = -code if code < 0 else code - 128
    if number in {int(known) for known in signal.Signals}:
        return f"was ended by {signal.Signals(number).name} (exit code {code})"
    return f"ended with exit code {code}" + ("" if root.bad else ", though no check failed")
