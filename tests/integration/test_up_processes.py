"""`toto up` for real: it says when it is ready, ends with all it started, and brings back what dies."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from server.core.config import Config
from server.core.states import Action, stages_for
from server.core.store import Store
from tests.fakes.upping import TOTO, Up, free_port, processes, toto, up
from tests.services import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def data(open_folder: Path) -> Path:
    return open_folder / "data"


def plans(data: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(data / "toto.db") as database:
        return list(database.execute("select ref, state from pushes order by seq"))


def checkout(place: Path, remote: str) -> Path:
    """A checkout with a fleet of one host, whose origin is `remote`."""
    work = place / "work"
    (work / "hosts").mkdir(parents=True)
    (work / "fleet.toml").write_text('[fleet]\nname = "home"\n[hosts.web]\nbackend = "debian"\naddress = "web.lan"\n')
    (work / "hosts/web.toml").write_text('suite = "bookworm"\n')
    for words in (["init", "-q", "-b", "main"], ["remote", "add", "origin", remote], ["add", "-A"]):
        git(work, *words)
    git(work, "commit", "-qm", "one")
    return work


def git(work: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *who, *words], cwd=work, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def kill_and_wait(running: Up, pattern: str) -> None:
    """kill -9, and another process of that kind takes its place."""
    wait_until(lambda: running.pid(pattern), 30, pattern)
    old = running.pid(pattern)
    assert old is not None
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: running.pid(pattern) not in (None, old), 60, f"another {pattern}")


def test_a_life(data: Path, open_folder: Path) -> None:
    """One start, since each costs seconds: ready, a second one refused, every part killed and back, a push planned."""
    remote = toto(data, "repo", "add", "home").stdout.split()[-1]
    work = checkout(open_folder, remote)
    assert "planned when it is back" in git(work, "push", "-o", "toto.plan", "origin", "main")
    with up(data) as running:
        running.ready()
        assert f"ready http://127.0.0.1:{running.port}" in running.text.splitlines()
        assert "toto init" in running.text
        assert running.get("/readyz")[0] == 200
        wait_until(lambda: plans(data) == [("refs/heads/main", "planned")], 30, "the plan of a push made while down")

        second = toto(data, "up", "--port", str(free_port()))
        assert second.returncode != 0
        assert second.stderr.splitlines() == [f"toto: {data}: toto runs on this data folder already; stop it first"]

        for pattern in ("redis-server|valkey", "server.web.serve", "reconcile --follow", "worker plan", "worker build"):
            kill_and_wait(running, pattern)
        wait_until(lambda: answers(running), 60, "the web, again")
        # Everything works after all these deaths: a push goes through hooks, receiver, Redis and worker.
        (work / "hosts/web.toml").write_text('suite = "bookworm"\npackages = ["curl"]\n')
        git(work, "commit", "-qam", "two")
        git(work, "push", "-o", "toto.plan", "origin", "main")
        wait_until(lambda: plans(data)[1:] == [("refs/heads/main", "planned")], 60, "the plan of a later push")

        # A run whose worker was killed goes on by itself: here to its end, since its repository is none.
        orphan = leave_a_run_behind(data)
        wait_until(lambda: attempt_and_state(data, orphan) == (2, "error"), 60, "the end of a run left behind")

        running.child.send_signal(signal.SIGINT)
        assert running.child.wait(60) == 0
        running.gone()


def leave_a_run_behind(data: Path) -> str:
    """A run as a worker leaves it that dies in its middle: running, its lock held by nobody."""
    store = Store(Config(data=data))
    made = store.add_run(stages_for(Action.DEPLOY), repo="nil", host="web", commit="1" * 40, cause="push")
    assert store.claim(made.id, 1, "build")
    store.close()
    return made.id


def attempt_and_state(data: Path, run_id: str) -> tuple[int, str]:
    with sqlite3.connect(data / "toto.db") as database:
        found: tuple[int, str] = database.execute("select attempt, state from runs where id = ?", [run_id]).fetchone()
        return found


def answers(running: Up) -> bool:
    try:
        return running.get("/readyz")[0] == 200
    except OSError:
        return False


def test_sigterm_ends_all_of_it(data: Path) -> None:
    with up(data) as running:
        running.ready()
        assert len(processes(data)) >= 7
        running.child.send_signal(signal.SIGTERM)
        assert running.child.wait(60) == 0
        running.gone()


BACKGROUND = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
"""As a script's shell starts what it puts into the background: SIGINT is ignored."""


def test_a_signal_while_it_starts_ends_it_too(data: Path) -> None:
    with up(data, before=BACKGROUND) as running:
        wait_until(lambda: running.pid("redis-server|valkey"), 30, "Redis")
        running.child.send_signal(signal.SIGINT)
        assert running.child.wait(60) == 0
        running.gone()


def test_its_own_violent_death_leaves_nothing(data: Path) -> None:
    with up(data) as running:
        running.ready()
        running.child.kill()
        running.child.wait(10)
        running.gone()


def test_a_taken_port_is_said_and_leaves_nothing(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = toto(data, "up", "--port", str(port))
    assert done.returncode == 2
    assert f"toto: port {port} of 127.0.0.1 cannot be had: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not processes(data)


POISON = 'import pathlib\npathlib.Path("MARK").touch()\nraise SystemExit("poisoned")\n'


def test_nothing_is_imported_from_where_it_was_started(data: Path, open_folder: Path) -> None:
    """A fleet's checkout may have folders of the same names as toto's packages; neither toto nor a hook looks there."""
    mark = open_folder / "poisoned"
    remote = toto(data, "repo", "add", "home").stdout.split()[-1]
    work = checkout(open_folder, remote)
    for name in ("server", "jobs", "hooks", "deploy", "host_tests", "flask", "gunicorn", "rq"):
        (work / name).mkdir()
        (work / name / "__init__.py").write_text(POISON.replace("MARK", str(mark)))
    (work / "sitecustomize.py").write_text(POISON.replace("MARK", str(mark)))
    (work / "gunicorn.conf.py").write_text(POISON.replace("MARK", str(mark)))
    git(work, "add", "-A")
    git(work, "commit", "-qm", "poison")
    with up(data, cwd=work) as running:
        running.ready()
        git(work, "push", "-o", "toto.plan", "origin", "main")
        wait_until(lambda: plans(data) == [("refs/heads/main", "planned")], 30, "the plan")
        assert running.get("/")[0] == 200
        assert toto(data, "hosts", cwd=work).returncode == 0
    assert not mark.exists()


def readable(user: str, path: Path) -> bool:
    asked = ["setpriv", f"--reuid={user}", "--regid=toto", "--clear-groups", "test", "-r", str(path)]
    return subprocess.run(asked).returncode == 0


def owner(pid: int) -> str:
    return Path(f"/proc/{pid}").owner()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_started_as_root_it_runs_as_its_two_users(data: Path, open_folder: Path) -> None:
    answers_file = open_folder / "answers.toml"
    answers_file.write_text('user = "ada"\npassword = "long enough"\n')
    assert toto(data, "init", "--answers", str(answers_file)).returncode == 0
    with up(data) as running:
        running.ready()
        wait_until(lambda: running.pid("worker deploy") and running.pid("worker build"), 30, "the workers")
        who = {
            pattern: owner(running.pid(pattern) or 0)
            for pattern in ("redis-server|valkey", "server.web.serve", "reconcile", "worker build", "worker deploy")
        }
        assert set(who.values()) == {"toto", "toto-deploy"}
        assert [pattern for pattern, name in who.items() if name == "toto-deploy"] == ["worker deploy"]
        for name in ("deploy", "release"):
            files = [path for path in (data / "keys" / name).iterdir() if path.is_file()]
            assert files
            for path in files:
                assert readable("toto-deploy", path)
                assert not readable("toto", path)
        # What root makes from now on is toto's, too.
        assert toto(data, "repo", "add", "other").returncode == 0
        assert (data / "repos/other.git").owner() == "toto"
        assert (data / "toto.db").owner() == "toto"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to become")
def test_any_other_user_can_run_all_of_it(open_folder: Path) -> None:
    place = open_folder / "home"
    place.mkdir()
    os.chown(place, 65534, 65534)
    data = place / "data"
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    home = {"HOME": str(place), "GIT_CONFIG_SYSTEM": "/dev/null"}

    def as_nobody(*words: str, cwd: Path = place) -> str:
        done = subprocess.run(
            [*become, "env", f"TOTO_DATA={data}", *(f"{key}={value}" for key, value in home.items()), *words],
            cwd=cwd, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    remote = as_nobody(str(TOTO), "repo", "add", "home").split()[-1]
    work = checkout(place, remote)
    subprocess.run(["chown", "-R", "65534:65534", str(work)], check=True)
    with up(data, before=become, cwd=place, **home) as running:
        running.ready()
        as_nobody("git", "push", "-o", "toto.plan", "origin", "main", cwd=work)
        wait_until(lambda: plans(data) == [("refs/heads/main", "planned")], 30, "the plan")
        assert {owner(pid) for pid in processes(data)} == {"nobody"}
