"""The built wheel in an empty environment: what a user installs, without the checkout beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.fakes import upping
from tests.fakes.upping import environment, processes
from tests.services import wait_until

ROOT = Path(__file__).parents[2]
WANTED = (
    "templates/layout.html", "templates/fleet.html", "server/web/static/toto.css", "server/web/static/toto.js",
    "hooks/pre-receive", "hooks/post-receive", "deploy/toto-act", "host_tests/lib/tap.sh", "host_tests/lib/run-tests",
    "host_tests/stock/ssh", "jobs/guest_root/sshd_config", "jobs/images/kernel.sh",
    "jobs/images/host_package/postinst.sh",    "examples/fleet/fleet.toml", "server/core/migrations/env.py",
)  # fmt: skip
"""A file of each kind that is no Python."""
NOT_LIBRARIES = ("toto-", "_toto", "__editable__", "pip", "setuptools")


def run(*words: str, cwd: Path, **more: str) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, env=more or None)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files that git knows, so that nothing lying about gets in."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    names = run("git", "ls-files", "-z", "--cached", cwd=ROOT).split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode & 0o777)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(source), cwd=place)
    return next(place.glob("toto-*.whl"))


def test_every_file_that_toto_needs_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert [name for name in WANTED if name not in names] == []
    packed = {name.partition("/")[0] for name in names}
    assert {"tests", "docs", "script"} & packed == set()


def test_every_tracked_file_of_a_package_is_in_it(wheel: Path) -> None:
    folders = ("server", "hooks", "jobs", "host_tests", "deploy", "templates", "examples")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = run("git", "ls-files", *folders, cwd=ROOT).split()
    assert [name for name in tracked if (ROOT / name).is_file() and name not in names] == []


@pytest.mark.redis
def test_installed_it_does_its_work(wheel: Path, open_folder: Path) -> None:
    """judge, a repository, a push through its hooks, `up` with pages and their files, a plan; no checkout in sight."""
    venv = open_folder / "venv"
    run("/usr/bin/python3", "-m", "venv", str(venv), cwd=open_folder)
    # The libraries are those of this environment, of the locked versions: nothing is fetched.
    libraries = next((Path(sys.prefix) / "lib").glob("python3*/site-packages"))
    own = next((venv / "lib").glob("python3*/site-packages"))
    for found in libraries.iterdir():
        if found.suffix != ".pth" and not found.name.startswith(NOT_LIBRARIES):
            link = own / found.name
            if not link.exists():
                link.symlink_to(found)
    run(str(venv / "bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel), cwd=open_folder)
    toto, data = str(venv / "bin/toto"), open_folder / "data"
    env = environment(data)

    where = run(
        str(venv / "bin/python"), "-P", "-c", "import server; print(server.__path__[0])", cwd=open_folder, **env
    )
    assert Path(where.strip()).is_relative_to(venv)
    assert run(toto, "--version", cwd=open_folder, **env).startswith("toto ")
    tap = open_folder / "a.tap"
    tap.write_text("1..1\nok 1 - a\n")
    assert json.loads(run(toto, "judge", str(tap), "--json", cwd=open_folder, **env))["ok"] is True

    remote = run(toto, "repo", "add", "home", cwd=open_folder, **env).split()[-1]
    work = open_folder / "work"
    run("cp", "-r", str(own / "examples/fleet"), str(work), cwd=open_folder)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-qm", "one"],
        ["push", "-q", remote, "main"],
    ):
        run("git", *who, *words, cwd=work, **env)
    planned = json.loads(run(toto, "plan", "home", "main", "--json", cwd=open_folder, **env))
    assert {row["host"]: row["action"] for row in planned["hosts"]} == {"web": "deploy", "db": "deploy"}

    bad = work / "fleet.toml"
    bad.write_text(bad.read_text() + "\n[hosts.web.nonsense]\n")
    run("git", *who, "commit", "-qam", "bad", cwd=work, **env)
    refused = subprocess.run(["git", "push", remote, "main"], cwd=work, capture_output=True, text=True, env=env)
    assert refused.returncode != 0
    assert "fleet.toml:" in refused.stderr

    with upping.up(data, program=toto) as running:
        running.ready()
        status, page = running.get("/")
        assert status == 200
        assert "<html" in page
        assert running.get("/static/toto.css")[0] == 200
        wait_until(lambda: pushes(toto, open_folder, env) == ["planned"], 30, "the plan")
    assert not processes(data)


def pushes(toto: str, cwd: Path, env: dict[str, str]) -> list[str]:
    return [push["state"] for push in json.loads(run(toto, "pushes", "--json", cwd=cwd, **env))]
