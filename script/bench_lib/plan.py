"""The plan of a fleet of 50 hosts: from a commit in a repository to an action for each host."""

from __future__ import annotations

import statistics
import subprocess
import time

from bench_lib.figures import Figure, commit, fleet_files, git, scratch, until
from jobs.plan import plan_commit
from server.core import repos
from server.core.config import Config
from server.core.store import Store

HOSTS = 50
ROUNDS = 15


def bench() -> list[Figure]:
    with scratch() as place:
        config = Config(data=place / "data")
        store = Store(config)
        bare, work = repos.create(config, "bench"), place / "work"
        subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
        fleet_files(work, [f"h{number}" for number in range(HOSTS)])
        commit(work, "README", "a fleet\n")
        git(work, "push", "-q", str(bare), "main")
        took = []
        for _ in until(time.monotonic(), ROUNDS):
            began = time.perf_counter()
            planned = plan_commit(store, repos.tree(bare, repos.resolve(bare, "main")), deploys=True)
            took.append((time.perf_counter() - began) * 1000)
            assert len(planned) == HOSTS
        store.close()
    return [Figure("plan", f"{HOSTS} hosts, median of {len(took)}", statistics.median(took), "ms")]
