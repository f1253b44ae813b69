"""Commands on real repositories with real hooks, without `toto up`, `toto init` or Redis."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.pushing import Pushing
from tests.fakes.upping import TOTO, environment, toto

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def fleet(open_folder: Path) -> Pushing:
    made = Pushing(open_folder)
    assert made.push().code == 0
    return made


def plan(fleet: Pushing, *words: str) -> Any:
    done = toto(fleet.config.data, "plan", "home", *words, "--json", TOTO_REDIS=NOWHERE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def actions(said: Any) -> dict[str, str]:
    return {row["host"]: row["action"] for row in said["hosts"]}


def test_repo_add_alone_is_enough_for_a_push(open_folder: Path) -> None:
    data = open_folder / "not" / "there" / "yet"
    done = toto(data, "repo", "add", "home-2", "--branch", "trunk", TOTO_REDIS=NOWHERE)
    assert done.stdout == f"git remote add toto {data}/repos/home-2.git\n"
    assert (data / "repos/home-2.git/hooks/post-receive").exists()
    again = toto(data, "repo", "add", "home-2")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    heads = subprocess.run(["git", "-C", data / "repos/home-2.git", "symbolic-ref", "HEAD"], capture_output=True)
    assert heads.stdout == b"refs/heads/trunk\n"  # said once, kept the second time


def test_plan_by_every_kind_of_name(fleet: Pushing) -> None:
    first = fleet.head()
    fleet.git("tag", "-a", "-m", "x", "v1")
    fleet.git("push", "-q", "origin", "v1")
    for name in ("main", "refs/heads/main", first, first[:8], "v1", "refs/tags/v1", "HEAD"):
        said = plan(fleet, name)
        assert said["commit"] == first
        assert actions(said) == {"web": "deploy"}
    row = said["hosts"][0]
    assert set(row) >= {"host", "changed", "action", "reason", "identity"}
    assert row["changed"] is True


def test_plan_of_another_branch_rehearses(fleet: Pushing) -> None:
    fleet.git("checkout", "-qb", "feature")
    commit = fleet.write({"roles/base.toml": 'packages = ["curl", "jq"]\n'})
    assert fleet.push("origin", "feature").code == 0
    for name in ("feature", "refs/heads/feature", commit, commit[:9]):
        assert actions(plan(fleet, name)) == {"web": "rehearse"}
    assert actions(plan(fleet, "feature", "--against", "main")) == {"web": "deploy"}
    fleet.git("push", "-q", "origin", "feature:main")
    assert actions(plan(fleet, commit)) == {"web": "deploy"}


def test_plan_against_another_commit(fleet: Pushing) -> None:
    first = fleet.head()
    fleet.write({"README": "another\n"})
    fleet.push()
    said = plan(fleet, "main", "--against", first)
    assert actions(said) == {"web": "none"}
    assert said["hosts"][0]["changed"] is False


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nil"], "'nil' is no branch, tag or commit of home.git"),
        (["--", "-x"], "'-x' is no branch, tag or commit"),
        (["main~1"], "'main~1' is no branch"),
        (["main@{1}"], "is no branch"),
        (["0" * 40], "is no branch, tag or commit of home.git"),
        (["main", "--against", "nil"], "'nil' is no branch"),
        (["main", "--against=-x"], "'-x' is no branch"),
        ([""], "'' is no branch"),
    ],
)
def test_plan_of_what_is_no_ref(fleet: Pushing, words: list[str], told: str) -> None:
    done = toto(fleet.config.data, "plan", "home", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("toto: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_plan_of_an_empty_repository(open_folder: Path) -> None:
    data = open_folder / "data"
    toto(data, "repo", "add", "home")
    done = toto(data, "plan", "home", "main")
    assert done.returncode == 2
    assert "'main' is no branch, tag or commit of home.git" in done.stderr


def test_plan_of_a_commit_whose_files_are_invalid(fleet: Pushing) -> None:
    """A branch without fleet.toml is taken by the hooks; each fault of a plan stands on a line of its own."""
    fleet.git("checkout", "-q", "--orphan", "pages")
    fleet.git("rm", "-rqf", ".")
    fleet.write({"index.html": "x"})
    assert fleet.push("origin", "pages").code == 0
    done = toto(fleet.config.data, "plan", "home", "pages")
    assert done.returncode == 1
    assert all(line.startswith("toto: fleet.toml") for line in done.stderr.splitlines())


def test_judge_from_standard_input(open_folder: Path) -> None:
    for text, code in ((b"1..1\nok 1\n", 0), (b"", 1), (b"ok 1\n", 1)):
        done = subprocess.run([TOTO, "judge"], input=text, env=environment(open_folder / "data"), capture_output=True)
        assert done.returncode == code
    assert not (open_folder / "data").exists()


def test_a_reader_who_goes_away_is_no_fault(fleet: Pushing) -> None:
    shell = f"{TOTO} plan home main --json; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({shell}) | true"], env=environment(fleet.config.data), capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_questions_come_on_a_terminal_only(open_folder: Path) -> None:
    """`toto init` on a terminal asks; the answers make the administrator."""
    data = open_folder / "data"
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [TOTO, "init"], env=environment(data), stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(follower)
    said = ""
    for question, answer in (("name: ", "ada"), ("Password: ", "long enough"), ("Again: ", "long enough")):
        while not said.endswith(question):
            said += os.read(leader, 100).decode()
        os.write(leader, f"{answer}\n".encode())
    assert child.wait(30) == 0
    os.close(leader)
    assert "long enough" not in said
    assert (data / "keys/release").is_dir()
