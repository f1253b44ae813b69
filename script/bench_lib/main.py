"""The benchmarks' command line and their table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

from bench_lib import hooks, judge, plan
from bench_lib.figures import Figure

BENCHES: dict[str, Callable[[], list[Figure]]] = {"hooks": hooks.bench, "judge": judge.bench, "plan": plan.bench}


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description="How fast toto's hot paths are on this machine.")
    parser.add_argument("bench", nargs="*", metavar="hooks|judge|plan", help="all by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words)
    if unknown := [name for name in options.bench if name not in BENCHES]:
        parser.error(f"there is no benchmark {unknown[0]}")
    figures = [figure for name in options.bench or BENCHES for figure in BENCHES[name]()]
    if options.json:
        print(json.dumps([figure.__dict__ for figure in figures], ensure_ascii=False))
        return 0
    width = max(len(figure.what) for figure in figures)
    for figure in figures:
        print(f"{figure.bench:<6} {figure.what:<{width}} {figure.value:>10,.1f} {figure.unit}")
    return 0
