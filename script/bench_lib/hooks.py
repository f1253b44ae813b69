"""What both hooks add to a push by path that touches no file of the fleet's description, and to one that does.

A push with hooks and one to a repository without them are timed in turn; the median of the pairs' differences is what
the hooks cost, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from bench_lib.figures import AUTHOR, SECONDS, Figure, commit, fleet_files, git, scratch, until
from hooks import install
from server.core.config import Config
from server.core.store import Store

PAIRS = 60
CHECKED_PAIRS = 10


def timed(work: Path, remote: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["git", *AUTHOR, "push", "-q", str(remote), "main"], cwd=work, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def pairs(work: Path, bare: Path, plain: Path, name: str, most: int, began: float) -> tuple[list[float], list[float]]:
    """Milliseconds of git alone, and of what the hooks add, for each pair."""
    floor, added = [], []
    for number in until(began, most):
        commit(work, name, f"# {number} {time.time()}\n")
        first, second = (bare, plain) if number % 2 else (plain, bare)
        took = {first: timed(work, first), second: timed(work, second)}
        floor.append(took[plain])
        added.append(took[bare] - took[plain])
    return floor, added


def bench() -> list[Figure]:
    with scratch() as place:
        config = Config(data=place / "data", redis="redis://127.0.0.1:1/0")
        store = Store(config)
        bare = install.add_repository(config, "bench", "main", store)
        store.close()
        plain, work = place / "plain.git", place / "work"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(plain)], check=True)
        subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
        fleet_files(work, ["web", "db"])
        commit(work, "README", "a fleet\n")
        for remote in (bare, plain):
            git(work, "push", "-q", str(remote), "main")
        floor, quick = pairs(work, bare, plain, "README", PAIRS, time.monotonic())
        _, checked = pairs(work, bare, plain, "hosts/web.orig", CHECKED_PAIRS, time.monotonic() - 3 * SECONDS / 4)
    return [
        Figure("hooks", f"git alone, median of {len(floor)}", statistics.median(floor), "ms"),
        Figure(
            "hooks", f"both hooks, no described file touched, median of {len(quick)}", statistics.median(quick), "ms"
        ),
        Figure(
            "hooks", f"both hooks, the fleet is checked, median of {len(checked)}", statistics.median(checked), "ms"
        ),
    ]
