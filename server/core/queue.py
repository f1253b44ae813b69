"""RQ carries the work; the database is the truth. A job holds ids and nothing else.

The only importer of rq beside the worker. Job ids name what they do, so that enqueuing twice is seen.
"""

from __future__ import annotations

from typing import Any

import redis
import rq
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from server.core.config import Config
from server.core.errors import QueueTrouble

PLAN, BUILD, DEPLOY = "plan", "build", "deploy"
QUEUES = (PLAN, BUILD, DEPLOY)
TASKS = {PLAN: "jobs.tasks.plan", BUILD: "jobs.tasks.build", DEPLOY: "jobs.tasks.deploy"}
JOB_SECONDS = 6 * 3600
"""RQ's own limit for a job: far beyond the limits of the stages, which are the ones that count."""
PENDING = (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED)


def connect(config: Config, *, patient: bool = False) -> redis.Redis:
    """A client; a patient one outlives a Redis that is away for a while (for workers)."""
    if patient:
        retry = Retry(ExponentialBackoff(cap=2, base=0.1), 60)
        return redis.Redis.from_url(config.redis_url, retry=retry, socket_timeout=600, socket_connect_timeout=5)
    return redis.Redis.from_url(config.redis_url, socket_timeout=5, socket_connect_timeout=2)


class Queue:
    """The queues of one toto."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._client = connect(config)

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._client.ping())
        except (redis.RedisError, OSError):
            return False

    def enqueue_plan(self, push_id: str) -> bool:
        """Ask for a push's plan; False where that is asked already.

        Raises:
            QueueTrouble: Redis does not answer.
        """
        return self._enqueue(PLAN, f"plan-{push_id}", push_id)

    def enqueue_run(self, phase: str, run_id: str, attempt: int) -> bool:
        """Ask for a run's next phase (`build` or `deploy`); False where that is asked already.

        Raises:
            QueueTrouble: Redis does not answer.
        """
        return self._enqueue(phase, f"{phase}-{run_id}-{attempt}", run_id, attempt)

    def _enqueue(self, queue: str, job_id: str, *arguments: Any) -> bool:
        try:
            if self._pending(queue, job_id):
                return False
            rq.Queue(queue, connection=self._client).enqueue_call(
                TASKS[queue],
                args=arguments,
                job_id=job_id,
                timeout=JOB_SECONDS,
                result_ttl=0,
                failure_ttl=24 * 3600,
            )
        except (redis.RedisError, OSError) as error:
            raise QueueTrouble(
                f"Redis does not answer: {error}", mend="see that `toto up` or Redis is running"
            ) from error
        return True

    def _pending(self, queue: str, job_id: str) -> bool:
        """Whether that job is queued or running. RQ's own word is a hint: claims in the database decide."""
        try:
            job = Job.fetch(job_id, connection=self._client)
        except NoSuchJobError:
            return False
        status = job.get_status(refresh=False)
        if status == JobStatus.QUEUED:
            return job_id in rq.Queue(queue, connection=self._client).get_job_ids()
        return status in PENDING

    def lengths(self) -> dict[str, int]:
        """How many jobs wait in each queue.

        Raises:
            QueueTrouble: Redis does not answer.
        """
        try:
            return {name: rq.Queue(name, connection=self._client).count for name in QUEUES}
        except (redis.RedisError, OSError) as error:
            raise QueueTrouble(f"Redis does not answer: {error}") from error

    def workers(self) -> list[dict[str, str]]:
        """The workers that Redis knows: name, queue, state, current job.

        Raises:
            QueueTrouble: Redis does not answer.
        """
        try:
            return [
                {
                    "name": worker.name,
                    "queue": ",".join(worker.queue_names()),
                    "state": str(worker.get_state()),
                    "job": worker.get_current_job_id() or "",
                }
                for worker in rq.Worker.all(connection=self._client)
            ]
        except (redis.RedisError, OSError) as error:
            raise QueueTrouble(f"Redis does not answer: {error}") from error
