"""Checks that `toto judge` takes a second, in one flat output and in one of subtests with diagnostics."""

from __future__ import annotations

import time

from bench_lib.figures import Figure
from host_tests.judge import judge

CHECKS = 100_000


def flat() -> bytes:
    return f"1..{CHECKS}\n".encode() + b"".join(b"ok %d - check\n" % number for number in range(1, CHECKS + 1))


def nested() -> bytes:
    """Each point has a subtest of one failed check with a YAML block."""
    points = CHECKS // 10
    one = b"    1..1\n    not ok 1 - a\n      ---\n      got: 1\n      want: 2\n      ...\nnot ok %d - b\n"
    return f"TAP version 14\n1..{points}\n".encode() + b"".join(one % number for number in range(1, points + 1))


def bench() -> list[Figure]:
    figures = []
    for what, data, checks in (("flat", flat(), CHECKS), ("subtests with YAML", nested(), CHECKS // 5)):
        began = time.perf_counter()
        verdict = judge(data, 1)
        seconds = time.perf_counter() - began
        assert verdict.planned
        figures.append(Figure("judge", f"{what}, {checks:,} checks", checks / seconds, "checks/s"))
    return figures
