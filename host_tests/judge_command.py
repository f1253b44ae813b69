"""The text of `toto judge`: the verdict first, then what failed and why, then what is wrong with the output itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

from host_tests.judge import Check, Verdict, judge


def judge_command(data: bytes, exit_code: int, as_json: bool) -> tuple[str, int]:
    """What `toto judge` prints on an output that ended with `exit_code`, and its own exit code: 0 for ok, else 1."""
    verdict = judge(data, exit_code)
    text = json.dumps(verdict.to_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(verdict))
    return text, 0 if verdict.ok else 1


def summary(verdict: Verdict) -> str:
    """One line: `ok: 3 passed, 1 skipped (4 planned)`."""
    if verdict.ok and verdict.skip_all is not None:
        return f"ok: skipped as a whole{': ' + verdict.skip_all if verdict.skip_all else ''}"
    names = ("passed", "failed", "skipped", "todo")
    counts = [f"{getattr(verdict, name)} {name}" for name in names if getattr(verdict, name)]
    planned = "no plan" if verdict.planned is None else f"{verdict.planned} planned"
    return f"{'ok' if verdict.ok else 'NOT OK'}: {', '.join(counts) or 'no checks'} ({planned})"


def _lines(verdict: Verdict) -> Iterator[str]:
    yield summary(verdict)
    for check in verdict.checks:
        yield from _failure(check, "  ")
    if verdict.problems:
        yield "problems:"
        yield from (f"  - {problem}" for problem in verdict.problems)
    for check in verdict.checks:
        if check.directive == "todo" and check.ok:
            yield f"note: {check} passes, though it is marked TODO"


def _failure(check: Check, margin: str) -> Iterator[str]:
    """A failed check, its diagnostics, and the points of its subtest that failed."""
    if check.good:
        return
    yield f"{margin}{check}"
    for line in (check.diagnostics or "").splitlines():
        yield f"{margin}    {line}".rstrip()
    for nested in check.subtests:
        yield from _failure(nested, margin + "    ")
