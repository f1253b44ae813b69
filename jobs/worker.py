"""The worker: RQ's, with one queue, tied to its parent, patient with a Redis that is away.

With several queues RQ takes jobs by BLPOP, and one can be lost; with a single queue it moves them atomically.
"""

from __future__ import annotations

import ctypes
import os
import signal

from rq import Queue as RqQueue
from rq import SimpleWorker, Worker
from rq.job import Job

from server.core.config import Config
from server.core.errors import UsageFault
from server.core.queue import PLAN, QUEUES, connect

WORKER_TTL = 20
MAINTENANCE_SECONDS = 5
MONITORING_SECONDS = 2
HEARTBEAT_SECONDS = 15
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class TotoWorker(Worker):
    """RQ's worker, whose work-horse dies with it and whose death is noticed within seconds."""

    def main_work_horse(self, job: Job, queue: RqQueue) -> None:
        """In the forked work-horse: be tied to the worker first."""
        parent = os.getppid()
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        super().main_work_horse(job, queue)

    def get_heartbeat_ttl(self, job: Job) -> int:
        """RQ adds a fixed minute; a dead worker's job is missed sooner here."""
        return HEARTBEAT_SECONDS


def work(config: Config, queues: list[str], *, burst: bool = False) -> None:
    """Take jobs from one queue until told to stop (SIGTERM finishes the current job first).

    Raises:
        UsageFault: No such queue, or more than one.
    """
    for name in queues:
        if name not in QUEUES:
            raise UsageFault(f"there is no queue {name}", mend=f"queues: {', '.join(QUEUES)}")
    if len(queues) != 1:
        raise UsageFault("a worker takes one queue", mend="start a worker for each: jobs are then taken atomically")
    client = connect(config, patient=True)
    queue = RqQueue(queues[0], connection=client)
    # Plans are quick and fork nothing: they run in the worker itself, which saves a fork for each push.
    kind = SimpleWorker if queues[0] == PLAN else TotoWorker
    worker = kind(
        [queue],
        connection=client,
        default_worker_ttl=WORKER_TTL,
        maintenance_interval=MAINTENANCE_SECONDS,
        job_monitoring_interval=MONITORING_SECONDS,
    )
    worker.work(burst=burst, logging_level="WARNING", with_scheduler=False)
