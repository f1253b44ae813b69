"""Telling browsers what changed, as server-sent events.

One hub thread for a process reads Redis's stream with one XREAD, always from a concrete id (from `$`, what comes
between two reads is lost), and hands each watcher what concerns it. A watcher keeps only the newest event of a kind, so
a slow one never piles up. Every connection begins with the whole state: who reconnects has lost nothing, whatever its
`Last-Event-ID` said. What nobody told (Redis away, or a line printed just after another) is found by looking.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from server.core.config import Config
from server.core.errors import StoreTrouble
from server.core.events import STREAM
from server.core.log import log_length
from server.core.present import run_json
from server.core.states import StageState
from server.core.store import Store

BLOCK_SECONDS = 1.0
BATCH_SECONDS = 0.2
"""Between two reads: what comes meanwhile goes out together."""
LOOK_SECONDS = 1.0
"""How often log files of watched runs are looked at."""
DATABASE_SECONDS = 5.0
"""How often the database is looked at while Redis tells everything…"""
DATABASE_SECONDS_ALONE = 2.0
"""…and while it is away."""
KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True)
class Event:
    """One server-sent event.

    Attributes:
        name: Its type: `run`, `log`, `check`, `end` for watchers of a run, `change` for watchers of everything.
        data: What it says, as JSON.
        id: The id in Redis's stream; empty where it was found by looking.
    """

    name: str
    data: dict[str, Any]
    id: str = ""

    def encode(self) -> str:
        """The event as it goes over the wire. JSON holds no line feed, so nothing can break out of `data:`."""
        head = f"id: {self.id}\n" if self.id else ""
        return f"{head}event: {self.name}\ndata: {json.dumps(self.data)}\n\n"


class Watcher:
    """One connection's letter box: the newest event of each kind."""

    def __init__(self, run: str | None) -> None:
        self.run = run
        self._condition = threading.Condition()
        self._waiting: dict[tuple[str, ...], Event] = {}
        self.closed = False

    def put(self, key: tuple[str, ...], event: Event) -> None:
        """Leave an event; an older one with the same key is dropped."""
        with self._condition:
            self._waiting.pop(key, None)
            self._waiting[key] = event
            self._condition.notify()

    def close(self) -> None:
        """Wake whoever takes; nothing more comes."""
        with self._condition:
            self.closed = True
            self._condition.notify()

    def take(self, timeout: float) -> list[Event]:
        """What came; empty after `timeout` seconds without anything."""
        with self._condition:
            if not self._waiting and not self.closed:
                self._condition.wait(timeout)
            events = list(self._waiting.values())
            self._waiting.clear()
            return events


class Hub:
    """One process's reader of the stream, and its watchers. The thread starts with the first watcher."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._seen: dict[str, str] = {}
        self._lengths: dict[tuple[str, str], int] = {}

    @property
    def watching(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._watchers)

    @contextlib.contextmanager
    def watch(self, run: str | None = None) -> Iterator[Watcher]:
        """A letter box for one run, or for everything; it begins with the run's whole state."""
        watcher = Watcher(run)
        with self._lock:
            self._watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hub", daemon=True)
                self._thread.start()
        try:
            if run is not None:
                self._tell_state(run, [watcher])
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def stop(self) -> None:
        """End the thread and every connection."""
        self._stopped.set()
        with self._lock:
            thread, watchers = self._thread, list(self._watchers)
        for watcher in watchers:
            watcher.close()
        if thread is not None:
            thread.join(BLOCK_SECONDS * 3)

    def _of(self, run: str | None) -> list[Watcher]:
        with self._lock:
            return [watcher for watcher in self._watchers if watcher.run == run]

    def _runs(self) -> set[str]:
        with self._lock:
            return {watcher.run for watcher in self._watchers if watcher.run is not None}

    def _work(self) -> None:
        reader = StreamReader(self._config)
        looked = database = time.monotonic()
        while not self._stopped.is_set():
            entries = reader.read()
            if entries:
                self._deliver(entries)
            now = time.monotonic()
            with contextlib.suppress(StoreTrouble):  # the next look may go better
                if now - looked >= LOOK_SECONDS:
                    looked = now
                    self._look_at_logs()
                if now - database >= (DATABASE_SECONDS_ALONE if reader.away else DATABASE_SECONDS):
                    database = now
                    self._look_at_database()
            self._stopped.wait(BATCH_SECONDS)

    def _deliver(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        watched = self._runs()
        changed: dict[str, str] = {}
        for entry_id, fields in entries:
            kind, run = fields.get("kind", ""), fields.get("run", "")
            if kind not in ("log", "check"):
                event = Event("change", fields, entry_id)
                for watcher in self._of(None):
                    watcher.put((kind, run, fields.get("host", ""), fields.get("push", "")), event)
            if run not in watched:
                continue
            if kind == "check":
                for watcher in self._of(run):
                    watcher.put(("check", fields.get("stage", "")), Event("check", fields, entry_id))
            if kind != "log":
                changed[run] = entry_id
        if any(fields.get("kind") == "log" for _, fields in entries):
            self._look_at_logs()
        for run, entry_id in changed.items():
            with contextlib.suppress(StoreTrouble):
                self._tell_state(run, self._of(run), entry_id)

    def _tell_state(self, run_id: str, watchers: list[Watcher], entry_id: str = "") -> None:
        run = self._store.run(run_id)
        if run is None:
            return
        stages = self._store.stages(run_id)
        said = run_json(run, stages)
        self._seen[run_id] = json.dumps(said)
        lengths = [(stage.name, log_length(self._config, run_id, stage.name)) for stage in stages]
        for watcher in watchers:
            watcher.put(("run",), Event("run", said, entry_id))
            for name, length in lengths:
                if length:
                    watcher.put(("log", name), Event("log", {"stage": name.value, "length": length}))
            if run.state.final:
                watcher.put(("end",), Event("end", {"run": run_id, "state": run.state.value}))

    def _look_at_logs(self) -> None:
        """The log files themselves say how long they are: what is told of them may come late, or never."""
        for run_id in self._runs():
            for stage in self._store.stages(run_id):
                if stage.state is not StageState.RUNNING:
                    continue
                length = log_length(self._config, run_id, stage.name)
                if self._lengths.get((run_id, stage.name.value)) != length:
                    self._lengths[(run_id, stage.name.value)] = length
                    for watcher in self._of(run_id):
                        data = {"stage": stage.name.value, "length": length}
                        watcher.put(("log", stage.name.value), Event("log", data))

    def _look_at_database(self) -> None:
        """Find what nobody told: a run whose state differs from what was said last, and the fleet's own picture."""
        watched = self._runs()
        for run_id in watched:
            run = self._store.run(run_id)
            if run and json.dumps(run_json(run, self._store.stages(run_id))) != self._seen.get(run_id):
                self._tell_state(run_id, self._of(run_id))
        self._seen = {key: value for key, value in self._seen.items() if key in watched or not key}
        self._lengths = {key: value for key, value in self._lengths.items() if key[0] in watched}
        if everything := self._of(None):
            picture = repr((self._store.hosts(), self._store.open_runs(), self._store.pushes(limit=1)))
            if self._seen.get("") not in (None, picture):
                for watcher in everything:
                    watcher.put(("look",), Event("change", {"kind": "look"}))
            self._seen[""] = picture


class StreamReader:
    """Reads Redis's stream from one concrete id to the next, across interruptions and a Redis that began anew."""

    def __init__(self, config: Config) -> None:
        # redis-py's read timeout must be longer than the block, or each quiet moment is an error; RESP 2 is asked for
        # because RESP 3 answers XREAD in another shape
        self._client = redis.Redis.from_url(
            config.redis_url, socket_timeout=10, retry=Retry(NoBackoff(), 0), decode_responses=True, protocol=2
        )
        self._last = ""
        self.away = False

    def read(self) -> list[tuple[str, dict[str, str]]]:
        """The entries since the last read; waits up to `BLOCK_SECONDS`. Nothing while Redis is away."""
        try:
            if not self._last or self.away:
                self._begin()
            found: Any = self._client.xread({STREAM: self._last}, count=1000, block=int(BLOCK_SECONDS * 1000))
        except (redis.RedisError, OSError):
            self.away = True
            time.sleep(BLOCK_SECONDS)
            return []
        self.away = False
        entries: list[tuple[str, dict[str, str]]] = found[0][1] if found else []
        if entries:
            self._last = entries[-1][0]
        return entries

    def _begin(self) -> None:
        """A concrete id to read from: where we were, or the newest where there is none, or where Redis began anew."""
        newest = self._client.xrevrange(STREAM, count=1)
        end = str(newest[0][0]) if newest else "0-0"
        if not self._last or _moment(end) < _moment(self._last):
            self._last = end


def _moment(entry_id: str) -> tuple[int, int]:
    before, _, after = entry_id.partition("-")
    return int(before), int(after or 0)


def stream(hub: Hub, run: str | None) -> Iterator[str]:
    """The body of an SSE answer, until the run has ended or the browser goes."""
    with hub.watch(run) as watcher:
        yield "retry: 2000\n\n"
        while not watcher.closed:
            events = watcher.take(KEEP_ALIVE_SECONDS)
            if not events:
                yield ": still here\n\n"
            for event in events:
                yield event.encode()
                if event.name == "end":
                    return
