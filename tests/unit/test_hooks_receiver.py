"""The receiver against a spool on disk, a real database, and a queue that only remembers."""
# ruff: noqa: E501 - tables of inputs read best in wide lines

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hooks import spool
from hooks.receiver import PATIENCE, Receiver
from server.core import repos
from server.core.config import Config
from server.core.errors import QueueTrouble
from server.core.model import ZERO, Push
from server.core.store import Store

OLD, NEW = "1" * 40, "2" * 40


def note(identity: str = "0123456789ab", **changed: str) -> str:
    said = {
        "id": identity, "repo": "home", "ref": "refs/heads/main", "old": OLD, "new": NEW, "pusher": "ada", **changed,
    }  # fmt: skip
    return "toto-push 1\n" + "".join(f"{key} {value}\n" for key, value in said.items()) + "end\n"


class Asked:
    """A queue that remembers, and can be away."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.away = False
        self.before: Callable[[], None] = lambda: None

    def enqueue_plan(self, push_id: str) -> bool:
        self.before()
        if self.away:
            raise QueueTrouble("Redis does not answer")
        self.ids.append(push_id)
        return True


class Setting:
    def __init__(self, place: Path) -> None:
        self.config = Config(data=place)
        self.store = Store(self.config)
        self.queue = Asked()
        self.receiver = Receiver(self.store, self.queue, self.config)
        self.bare = repos.create(self.config, "home", "main")
        self.store.add_repo("home", str(self.bare), "main")
        spool.prepare(self.config)
        self.spool = spool.folder(self.config)

    def put(self, text: str, name: str = "1-1001-x.push", *, age: float = 0) -> Path:
        path = self.spool / name
        path.write_text(text)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def parked(self) -> list[str]:
        return sorted(path.name for path in (self.spool / "bad").glob("*"))

    def ref(self, commit: str, branch: str = "main") -> None:
        (self.bare / "refs" / "heads" / branch).write_text(f"{commit}\n")

    def commit(self, text: str) -> str:
        empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        git = repos.open_repo(self.bare).git
        git.execute(["git", "hash-object", "-t", "tree", "-w", "/dev/null"])
        return str(
            git.execute(
                ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit-tree", empty, "-m", text]
            )
        )


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    return Setting(tmp_path)


def test_a_note_becomes_a_push_and_a_job_and_is_gone(setting: Setting) -> None:
    path = setting.put(
        note(ref="refs/heads/a/b", old=ZERO).replace("end\n", "option toto.plan\noption toto.again\nend\n")
    )
    os.utime(path, ns=(1700000000123456000,) * 2)
    assert setting.receiver.drain() == 1
    assert setting.store.push("0123456789ab") == Push(
        "0123456789ab", "home", "refs/heads/a/b", ZERO, NEW, "ada",
        datetime(2023, 11, 14, 22, 13, 20, 123456, UTC), ("toto.plan", "toto.again"),
    )  # fmt: skip
    assert setting.queue.ids == ["0123456789ab"]
    assert not path.exists()
    assert setting.receiver.drain() == 0


def test_the_subject_of_its_commit_is_recorded(setting: Setting) -> None:
    setting.put(note(new=setting.commit("the subject\n\nnot this")))
    setting.receiver.drain()
    push = setting.store.push("0123456789ab")
    assert push is not None
    assert push.subject == "the subject"


def test_notes_are_received_oldest_first_and_those_of_one_push_by_name(setting: Setting) -> None:
    for number, age in ((4, 0), (3, 50), (2, 50), (1, 60)):
        path = setting.put(note(f"{number:012x}"), f"{9 if number == 1 else number}.push")
        os.utime(path, (1700000000 - age,) * 2)
    assert setting.receiver.drain() == 4
    assert setting.queue.ids == [f"{number:012x}" for number in (1, 2, 3, 4)]


def test_a_note_is_removed_only_after_its_job_exists(setting: Setting) -> None:
    path = setting.put(note())
    seen: list[bool] = []
    setting.queue.before = lambda: seen.append(path.exists() and setting.store.push("0123456789ab") is not None)
    setting.receiver.drain()
    assert seen == [True]


def test_a_note_received_twice_is_one_push(setting: Setting) -> None:
    setting.queue.away = True
    path = setting.put(note())
    with pytest.raises(QueueTrouble):
        setting.receiver.drain()
    assert path.exists()
    setting.queue.away = False
    assert setting.receiver.drain() == 0
    assert setting.queue.ids == ["0123456789ab"]
    assert len(setting.store.pushes()) == 1
    assert not path.exists()


def test_an_unfinished_note_is_left_until_its_hook_must_be_dead(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    path = setting.put(note().removesuffix("end\n"))
    assert setting.receiver.drain() == 0
    assert path.exists()
    setting.put(note().removesuffix("end\n"), age=PATIENCE + 1)
    with caplog.at_level(logging.WARNING):
        assert setting.receiver.drain() == 0
    assert setting.parked() == [path.name]
    assert "has no last line `end`" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "\nend\n", "x\nend\n", note().replace("toto-push 1", "toto-push 2"), note(repo="none"), note(repo="../x"), note(new="x"),
        note("x"), note(ref="-x"), note(ref="refs/heads/a..b"), note(received="x"),
        note().replace("pusher ada\n", ""), note().replace("end\n", "more x\nend\n"), note().replace("id ", "id x\nid "),
        "toto-push 1\n" + "x" * 70000 + "\nend\n",
    ],
)  # fmt: skip
def test_what_is_no_note_is_put_aside_and_stops_nothing(setting: Setting, text: str) -> None:
    setting.put(text, "1.push")
    setting.put(note(), "2.push")
    assert setting.receiver.drain() == 1
    assert setting.parked() == ["1.push"]


def test_files_that_are_not_files_are_put_aside(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(note())
    (setting.spool / "1.push").symlink_to(tmp_path / "secret")
    os.mkfifo(setting.spool / "2.push")
    (setting.spool / "3.push").mkdir()
    (setting.spool / "4.push").write_bytes(note(pusher="\x1b[2J").encode())
    assert setting.receiver.drain() == 1
    assert setting.parked() == ["1.push", "2.push", "3.push"]
    push = setting.store.push("0123456789ab")
    assert push is not None
    assert push.pusher == "?[2J"


def test_a_ref_that_no_push_explains_is_made_up_for_once_it_settled(setting: Setting) -> None:
    first = setting.commit("one")
    setting.ref(first)
    assert setting.receiver.repair_from_refs(settle=0.2) == 0
    assert setting.receiver.repair_from_refs(settle=3600) == 0
    time.sleep(0.2)
    assert setting.receiver.repair_from_refs(settle=0.2) == 1
    push = setting.store.last_push("home", "refs/heads/main")
    assert push is not None
    assert (push.old, push.new, push.pusher, push.subject) == (ZERO, first, "unknown", "one")
    assert setting.queue.ids == [push.id]
    assert setting.receiver.repair_from_refs(settle=0) == 0
    second = setting.commit("two")
    setting.ref(second)
    assert setting.receiver.repair_from_refs(settle=0) == 1
    push = setting.store.last_push("home", "refs/heads/main")
    assert push is not None
    assert (push.old, push.new) == (first, second)


def test_a_ref_whose_note_waits_is_not_made_up_for(setting: Setting) -> None:
    commit = setting.commit("one")
    setting.ref(commit)
    setting.put(note(new=commit))
    assert setting.receiver.repair_from_refs(settle=0) == 0
    assert setting.queue.ids == ["0123456789ab"]


def test_a_hook_wakes_the_receiver_at_once_and_sees_that_it_runs(setting: Setting) -> None:
    ready, stopping = threading.Event(), threading.Event()

    def stop() -> bool:
        ready.set()
        return stopping.is_set()

    thread = threading.Thread(target=setting.receiver.run, args=(stop,), kwargs={"every": 60})
    thread.start()
    try:
        assert ready.wait(10)
        pid, boot, name = spool.receiver_path(setting.config).read_text().split()
        assert int(pid) == os.getpid()
        assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert name == Path(f"/proc/{pid}/comm").read_text().strip()
        setting.put(note())
        with spool.wake_path(setting.config).open("w") as fifo:
            fifo.write("\n")
        deadline = time.monotonic() + 10
        while not setting.queue.ids and time.monotonic() < deadline:
            time.sleep(0.01)
        assert setting.queue.ids == ["0123456789ab"]
    finally:
        stopping.set()
        with spool.wake_path(setting.config).open("w") as fifo:
            fifo.write("\n")
        thread.join(10)
    assert not spool.receiver_path(setting.config).exists()


def test_a_receiver_without_redis_goes_on(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    setting.queue.away = True
    path = setting.put(note())
    rounds = 0

    def stop() -> bool:
        nonlocal rounds
        rounds += 1
        setting.queue.away = rounds < 3
        return rounds > 3

    with caplog.at_level(logging.ERROR):
        setting.receiver.run(stop, every=0.01)
    assert caplog.text.count("pushes wait in the spool: Redis does not answer") == 2
    assert setting.queue.ids == ["0123456789ab"]
    assert not path.exists()
