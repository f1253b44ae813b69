"""From a real push to a job on a real Redis."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from rq.job import Job

from hooks.receiver import Receiver
from server.core import process
from server.core.queue import PLAN, TASKS, Queue, connect
from tests.fakes.pushing import Pushing

pytestmark = [pytest.mark.redis, pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")]


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's name has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="toto-") as place:
        yield Path(place)


@pytest.fixture
def pushing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushing:
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Pushing(tmp_path, redis=f"unix://{folder / 'redis.sock'}")


def server(folder: Path, port: str = "0") -> list[str]:
    settings = ["--port", port, "--unixsocket", str(folder / "redis.sock"), "--dir", str(folder), "--save", ""]
    return ["redis-server", *settings]


def answers(pushing: Pushing) -> bool:
    try:
        return bool(connect(pushing.config).ping())
    except redis.RedisError:
        return False


def job_ids(pushing: Pushing) -> list[str]:
    return [value.decode() for value in connect(pushing.config).lrange(f"rq:queue:{PLAN}", 0, -1)]


class Running:
    """A receiver at work beside the test."""

    def __init__(self, pushing: Pushing) -> None:
        self._stopping = threading.Event()
        receiver = Receiver(pushing.store, Queue(pushing.config), pushing.config)
        self._thread = threading.Thread(target=receiver.run, args=(self._stopping.is_set,), kwargs={"every": 0.2})
        self._sign = pushing.config.data / "spool" / "receiver"

    def __enter__(self) -> None:
        self._thread.start()
        wait_for(self._sign.exists)

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)


def test_a_push_becomes_a_job_on_redis(pushing: Pushing, folder: Path) -> None:
    with process.started(server(folder)):
        wait_for(lambda: answers(pushing))
        with Running(pushing):
            answer = pushing.push()
            assert answer.code == 0, answer.text
            assert "not running" not in answer.text
            wait_for(lambda: job_ids(pushing))
        identity = answer.said[-1].rsplit("/", 1)[1]
        assert job_ids(pushing) == [f"plan-{identity}"]
        job = Job.fetch(f"plan-{identity}", connection=connect(pushing.config))
        assert (job.func_name, job.args) == (TASKS[PLAN], (identity,))
        assert pushing.notes() == []


def test_pushes_made_while_redis_was_down_become_jobs_when_it_is_back(pushing: Pushing, folder: Path) -> None:
    with Running(pushing):
        assert pushing.push("origin", "main", "main:feature").code == 0
        wait_for(lambda: len(pushing.store.pushes()) >= 1)
        assert len(pushing.notes()) == 2
        with process.started(server(folder)):
            wait_for(lambda: answers(pushing) and len(job_ids(pushing)) == 2)
            wait_for(lambda: not pushing.notes())
            assert sorted(job_ids(pushing)) == sorted(f"plan-{push.id}" for push in pushing.store.pushes())
