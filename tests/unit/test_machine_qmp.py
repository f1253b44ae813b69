from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs.qmp import Qmp
from server.core.errors import VmTrouble

GREETING = {"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}


@pytest.fixture
def pair() -> Iterator[tuple[Qmp, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Qmp(ours), theirs


def answering(
    theirs: socket.socket, *answers: dict[str, Any] | list[dict[str, Any]]
) -> tuple[list[Any], Callable[[], None]]:
    """QEMU's side: for each command that comes, the next answer (or several messages)."""
    heard: list[Any] = []

    def serve() -> None:
        file = theirs.makefile("rw")
        for answer in answers:
            heard.append(json.loads(file.readline()))
            for message in answer if isinstance(answer, list) else [answer]:
                file.write(json.dumps(message) + "\n")
            file.flush()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return heard, lambda: thread.join(5)


def test_greets_and_enters_command_mode(pair: tuple[Qmp, socket.socket]) -> None:
    qmp, theirs = pair
    theirs.sendall(json.dumps(GREETING).encode() + b"\n")
    heard, done = answering(theirs, {"return": {}})
    qmp.greet(5)
    done()
    assert heard == [{"execute": "qmp_capabilities"}]


def test_events_between_do_not_disturb_an_answer_and_are_remembered(pair: tuple[Qmp, socket.socket]) -> None:
    qmp, theirs = pair
    event = {"event": "DEVICE_DELETED", "data": {}}
    heard, done = answering(theirs, [event, {"return": {"status": "running"}}])
    assert qmp.execute("query-status", {"a": 1}) == {"status": "running"}
    done()
    assert heard == [{"execute": "query-status", "arguments": {"a": 1}}]
    qmp.wait_event("DEVICE_DELETED", 1)
    with pytest.raises(VmTrouble, match="in time"):
        qmp.wait_event("DEVICE_DELETED", 0.05)


def test_a_refusal_carries_qemus_reason(pair: tuple[Qmp, socket.socket]) -> None:
    qmp, theirs = pair
    answering(theirs, {"error": {"class": "GenericError", "desc": "no such bus"}})
    with pytest.raises(VmTrouble, match="device_add: no such bus"):
        qmp.execute("device_add")


@pytest.mark.parametrize("said", [b"", b"not json\n", b"[1]\n"])
def test_a_broken_monitor_is_trouble(pair: tuple[Qmp, socket.socket], said: bytes) -> None:
    qmp, theirs = pair
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(VmTrouble):
        qmp.greet(1)


def test_a_silent_monitor_is_trouble_after_the_time(pair: tuple[Qmp, socket.socket]) -> None:
    with pytest.raises(VmTrouble, match="in time"):
        pair[0].greet(0.1)
