"""Live views over a real Redis, and the application under a real gunicorn."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from server.core.config import Config
from server.core.events import STREAM, Events
from server.core.log import LogWriter, log_path
from server.core.states import RunState, StageName, StageState
from server.core.store import Store
from server.web import live
from server.web.live import Event, Hub, StreamReader, Watcher
from server.web.serve import gunicorn_argv
from tests.services import redis_server, wait_until
from tests.webserver import free_port

pytestmark = pytest.mark.redis
STAGES = (StageName.BUILD, StageName.BOOT)


class Listener:
    """Reads an SSE address in a thread of its own."""

    def __init__(self, url: str, last: str = "") -> None:
        self.events: list[tuple[str, dict[str, Any], str]] = []
        self.comments = 0
        self.ended = threading.Event()
        request = urllib.request.Request(url, headers={"Last-Event-ID": last} if last else {})
        self.answer = urllib.request.urlopen(request, timeout=30)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # the test has closed it
            self._lines()
        self.ended.set()

    def _lines(self) -> None:
        name = entry_id = ""
        for line in self.answer:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "id":
                entry_id = value
            elif key == "data":
                self.events.append((name, json.loads(value), entry_id))
                entry_id = ""
            elif line.startswith(b":"):
                self.comments += 1

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for found, data, _ in self.events if found == name]


@pytest.fixture
def store(redis_config: Config) -> Iterator[Store]:
    made = Store(redis_config)
    yield made
    made.close()


@pytest.fixture
def run_id(store: Store) -> str:
    run = store.add_run(STAGES, repo="home", host="web", commit="a" * 40, cause="push")
    store.claim(run.id, 1, "build")
    store.start_stage(run.id, 1, StageName.BUILD)
    return run.id


def grow(config: Config, run_id: str, text: bytes) -> int:
    """A line more in the build's log; its new length."""
    path = log_path(config, run_id, StageName.BUILD)
    log = LogWriter(path, 1 << 20)
    log.write(text)
    log.close()
    return path.stat().st_size


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{url}/healthz", timeout=2).status == 200)
    except OSError:
        return False


@pytest.fixture
def address(redis_config: Config, tmp_path: Path) -> Iterator[str]:
    """A real gunicorn, started from inside a checkout with packages of toto's names in it."""
    checkout, imported = tmp_path / "checkout", tmp_path / "imported"
    for name in ("jobs", "server", "templates", "flask"):
        (checkout / name).mkdir(parents=True)
        (checkout / name / "__init__.py").write_text(f"open({str(imported)!r}, 'a').write({name!r})\n")
    (checkout / "gunicorn.conf.py").write_text(f"open({str(imported)!r}, 'a').write('settings')\n")
    config = replace(redis_config, port=free_port())
    with (tmp_path / "web.log").open("wb") as output:
        child = subprocess.Popen(gunicorn_argv(config), cwd=checkout, stdout=output, stderr=subprocess.STDOUT)
        url = f"http://127.0.0.1:{config.port}"
        try:
            wait_until(lambda: answers(url), 30, "gunicorn")
            yield url
        finally:
            child.terminate()
            child.wait(10)
            print((tmp_path / "web.log").read_text())
    assert not imported.exists(), "something of the checkout was imported"


def test_a_run_is_followed_from_its_state_to_its_end(
    address: str, redis_config: Config, store: Store, run_id: str
) -> None:
    events = Events(redis_config)
    listener = Listener(f"{address}/api/v1/runs/{run_id}/events")
    assert listener.answer.headers["X-Accel-Buffering"] == "no"
    assert listener.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    wait_until(lambda: listener.named("run"), what="the whole state")
    assert listener.named("run")[0]["stages"][0]["state"] == "running"
    length = grow(redis_config, run_id, b"first\n")
    events.tell("log", run=run_id, stage="build", length=length)
    wait_until(lambda: {"stage": "build", "length": length} in listener.named("log"), what="the log's length")
    store.finish_stage(run_id, 1, StageName.BUILD, StageState.PASSED, None)
    events.tell("stage", run=run_id, stage="build")
    wait_until(lambda: listener.named("run")[-1]["stages"][0]["state"] == "passed", what="the stage's end")
    assert [entry for name, _, entry in listener.events if name == "run"][-1], "what Redis told carries its id"
    store.finish_run(run_id, 1, RunState.FAILED, "no")
    events.tell("run", run=run_id)
    assert listener.ended.wait(10), "the stream ends with the run"
    assert listener.named("end") == [{"run": run_id, "state": "failed"}]


def test_who_comes_back_has_missed_nothing(address: str, redis_config: Config, store: Store, run_id: str) -> None:
    first = Listener(f"{address}/api/v1/runs/{run_id}/events")
    wait_until(lambda: first.named("run"), what="the first state")
    first.answer.close()
    store.finish_stage(run_id, 1, StageName.BUILD, StageState.PASSED, None)
    store.start_stage(run_id, 1, StageName.BOOT)
    length = grow(redis_config, run_id, b"while nobody looked\n")
    Events(redis_config).tell("stage", run=run_id, stage="boot")
    again = Listener(f"{address}/api/v1/runs/{run_id}/events", last="1-1")
    wait_until(lambda: again.named("log"), what="the log's length")
    assert [stage["state"] for stage in again.named("run")[0]["stages"]] == ["passed", "running"]
    assert again.named("log")[0] == {"stage": "build", "length": length}


def test_a_line_that_nobody_told_is_found_by_looking(
    address: str, redis_config: Config, store: Store, run_id: str
) -> None:
    listener = Listener(f"{address}/api/v1/runs/{run_id}/events")
    wait_until(lambda: listener.named("run"), what="the state")
    length = grow(redis_config, run_id, b"printed just after another, so not told\n")
    wait_until(lambda: {"stage": "build", "length": length} in listener.named("log"), 5, "the log's length")


def test_the_fleets_stream_names_what_changed(address: str, redis_config: Config, store: Store) -> None:
    listener = Listener(f"{address}/api/v1/events")
    events = Events(redis_config)

    def told() -> bool:
        events.tell("host", host="web")  # the hub may have begun to read only after the first of them
        return any(data.get("host") == "web" for data in listener.named("change"))

    wait_until(told, what="the change")


def test_pages_and_probes_answer_under_gunicorn(address: str, store: Store) -> None:
    for path in ("/", "/login", "/readyz", "/static/toto.css", "/api/v1/hosts", "/api/v1/queue", "/api/v1/workers"):
        assert urllib.request.urlopen(address + path, timeout=10).status == 200, path


def test_the_reader_loses_nothing_between_two_reads(redis_config: Config) -> None:
    client = redis.Redis.from_url(redis_config.redis_url)
    client.xadd(STREAM, {"kind": "old"})
    reader = StreamReader(redis_config)
    assert reader.read() == [], "what was told before is in the database already"
    for number in range(3):
        client.xadd(STREAM, {"kind": str(number)})
    assert [fields["kind"] for _, fields in reader.read()] == ["0", "1", "2"]
    client.xadd(STREAM, {"kind": "3"})
    assert [fields["kind"] for _, fields in reader.read()] == ["3"]


def test_the_reader_goes_on_when_redis_comes_back_empty(redis_config: Config) -> None:
    client = redis.Redis.from_url(redis_config.redis_url)
    client.xadd(STREAM, {"kind": "before"}, id="99999999999999-0")  # an id of a clock that went wrong
    reader = StreamReader(redis_config)
    reader.read()
    client.flushall()
    reader.away = True
    reader.read()
    client.xadd(STREAM, {"kind": "after"})
    assert [fields["kind"] for _, fields in reader.read()] == ["after"]


@pytest.fixture
def lonely(open_folder: Path) -> Config:
    """Settings whose Redis does not run."""
    (open_folder / "lonely" / "redis").mkdir(parents=True)
    return Config(data=open_folder / "lonely")


def test_without_redis_the_database_is_asked(lonely: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "DATABASE_SECONDS_ALONE", 0.2)
    store = Store(lonely)
    run = store.add_run(STAGES, repo="home", host="web", commit="a" * 40, cause="push")
    hub = Hub(lonely, store)
    with hub.watch(run.id) as watcher:
        assert watcher.take(5)[0].data["state"] == "waiting"
        store.claim(run.id, 1, "build")
        assert _state_of(watcher) == "running"
    with redis_server(lonely.folder("redis")), hub.watch(run.id) as watcher:
        watcher.take(5)
        store.finish_run(run.id, 1, RunState.GOOD, None)
        assert _state_of(watcher) == "good", "Redis that has come back changes nothing"
    hub.stop()
    store.close()


def _state_of(watcher: Watcher) -> str:
    found: list[Event] = []
    wait_until(lambda: found.extend(watcher.take(0.2)) or [event for event in found if event.name == "run"])
    return str([event for event in found if event.name == "run"][-1].data["state"])


def test_a_slow_watcher_gets_the_newest_and_no_pile(redis_config: Config) -> None:
    watcher = Watcher("1")
    for length in range(100_000):
        watcher.put(("log", "build"), Event("log", {"length": length}))
    assert [event.data for event in watcher.take(0)] == [{"length": 99_999}]
