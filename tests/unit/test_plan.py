"""Planning by identity, from real commits of the example fleet."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.plan import plan_against, plan_push
from server.core import repos
from server.core.config import Config
from server.core.events import Events
from server.core.model import ZERO, Push
from server.core.states import Action, RunState
from server.core.store import Store
from server.core.store_base import now

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet"
AUTHOR = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
Pushed = Callable[..., dict[str, tuple[bool, Action]]]


class Fleet:
    """A checkout of the example fleet, and a toto that plans what is pushed from it."""

    def __init__(self, config: Config, store: Store, folder: Path) -> None:
        self.config, self.store, self.folder, self.count = config, store, folder, 0
        shutil.copytree(EXAMPLE, folder)
        self.path = repos.create(config, "fleet", "main")
        store.add_repo("fleet", str(self.path), "main")
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *AUTHOR, "-C", str(self.folder), *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.folder / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "change", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def push(self, *options: str, ref: str = "refs/heads/main", new: str | None = None) -> Push:
        commit = self.commit() if new is None else new
        if commit != ZERO:
            self.git("push", "-q", "--force", str(self.path), f"HEAD:{ref}")
        self.count += 1
        push = Push(f"p{self.count}", "fleet", ref, ZERO, commit, "ada", now(), options)
        self.store.add_push(push)
        plan_push(self.store, Events(self.config), push.id)
        found = self.store.push(push.id)
        assert found is not None
        return found

    def plan(self, push: Push) -> dict[str, tuple[bool, Action]]:
        return {row.host: (row.changed, row.action) for row in self.store.plan(push.id)}

    def deployed(self, push: Push) -> None:
        """As if all runs of this push had become good."""
        for run in self.store.runs(push=push.id):
            self.store.finish_run(run.id, 1, RunState.GOOD, None)
            self.store.set_host(
                run.host, identity=run.identity, tests=run.tests, generation=1, last_good=1, commit=run.commit
            )


@pytest.fixture
def fleet(config: Config, store: Store, tmp_path: Path) -> Fleet:
    made = Fleet(config, store, tmp_path / "checkout")
    made.deployed(made.push())
    return made


def test_a_first_push_deploys_every_host(config: Config, store: Store, tmp_path: Path) -> None:
    made = Fleet(config, store, tmp_path / "checkout")
    push = made.push()
    assert made.plan(push) == {"web": (True, Action.DEPLOY), "db": (True, Action.DEPLOY)}
    assert {run.host: run.wave for run in store.runs(push=push.id)} == {"web": 1, "db": 1}
    assert {host.name for host in store.hosts()} == {"web", "db"}


def test_a_readme_changes_no_host(fleet: Fleet) -> None:
    fleet.edit("README.md", "# An example fleet", "# The example fleet")
    push = fleet.push()
    assert fleet.plan(push) == {"web": (False, Action.NONE), "db": (False, Action.NONE)}
    assert fleet.store.runs(push=push.id) == []


def test_a_comment_in_a_hosts_file_changes_no_host(fleet: Fleet) -> None:
    fleet.edit("hosts/web.toml", "suite =", "# our web server\nsuite =")
    assert fleet.plan(fleet.push())["web"] == (False, Action.NONE)


def test_a_hosts_own_file_changes_that_host(fleet: Fleet) -> None:
    fleet.edit("files/web/index.html", "release one", "release two")
    assert fleet.plan(fleet.push()) == {"web": (True, Action.DEPLOY), "db": (False, Action.NONE)}


def test_a_file_that_two_hosts_share_changes_both(fleet: Fleet) -> None:
    fleet.edit("roles/base.toml", '"less"', '"less", "tree"')
    assert fleet.plan(fleet.push()) == {"web": (True, Action.DEPLOY), "db": (True, Action.DEPLOY)}


def test_a_changed_test_only_runs_the_tests_again(fleet: Fleet) -> None:
    fleet.edit("host_tests/db/smoke/10-redis.sh", "redis answers", "redis is there")
    assert fleet.plan(fleet.push()) == {"web": (False, Action.NONE), "db": (False, Action.TEST)}


def test_a_test_of_all_hosts_concerns_all(fleet: Fleet) -> None:
    fleet.edit("host_tests/all/no-internet/00-base.sh", "message of the day", "greeting")
    assert fleet.plan(fleet.push()) == {"web": (False, Action.TEST), "db": (False, Action.TEST)}


def test_a_push_is_planned_once(fleet: Fleet) -> None:
    fleet.edit("files/web/index.html", "release one", "release two")
    push = fleet.push()
    assert plan_push(fleet.store, Events(fleet.config), push.id) == []
    assert len(fleet.store.runs(push=push.id)) == 1


def test_another_branch_is_rehearsed_and_moves_nothing(fleet: Fleet) -> None:
    before = fleet.store.host("web")
    fleet.edit("files/web/index.html", "release one", "release two")
    push = fleet.push(ref="refs/heads/try")
    assert fleet.plan(push)["web"] == (True, Action.REHEARSE)
    assert fleet.store.host("web") == before


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("refs/tags/v1", "is no branch"),
        ("refs/heads/gone", "was deleted"),
        ("refs/heads/main", "the hosts stay as they are"),
    ],
)
def test_tags_and_deleted_branches_are_told_and_plan_nothing(fleet: Fleet, ref: str, told: str) -> None:
    push = fleet.push(ref=ref, new=None if "tags" in ref else ZERO)
    assert push.state == "ignored"
    assert told in str(push.reason)
    assert fleet.plan(push) == {}


def test_push_options(fleet: Fleet) -> None:
    fleet.edit("files/web/index.html", "release one", "release two")
    skipped = fleet.push("toto.skip")
    assert skipped.state == "ignored"
    planned = fleet.push("toto.plan")
    assert fleet.plan(planned)["web"] == (True, Action.DEPLOY)
    assert fleet.store.runs(push=planned.id) == []
    assert fleet.plan(fleet.push("toto.rehearse"))["web"] == (True, Action.REHEARSE)
    carried = fleet.push()
    assert fleet.plan(carried)["web"] == (True, Action.DEPLOY)


def test_a_held_host_is_rehearsed_and_a_rejected_release_is_not(fleet: Fleet) -> None:
    fleet.store.set_host("web", held_by="eve", held_why="migration")
    fleet.edit("files/web/index.html", "release one", "release two")
    held = fleet.push()
    run = fleet.store.runs(push=held.id)[0]
    assert (run.action, run.state) == (Action.HELD, RunState.WAITING)
    fleet.store.reject("web", "r", run.identity or "", "eve", "it loses mail")
    rejected = fleet.store.runs(push=fleet.push().id)[0]
    assert (rejected.action, rejected.state) == (Action.HELD, RunState.HELD)
    assert "it loses mail" in str(rejected.reason)


def test_invalid_files_end_the_plan_and_nobody_waits(fleet: Fleet) -> None:
    fleet.edit("hosts/web.toml", 'suite = "bookworm"', "")
    push = fleet.push()
    assert push.state == "error"
    assert "hosts/web.toml" in str(push.reason)


def test_a_plan_against_another_commit(fleet: Fleet) -> None:
    first = fleet.git("rev-parse", "HEAD")
    fleet.edit("files/web/index.html", "release one", "release two")
    second = fleet.push().new
    rows = {row.host: row.action for row in plan_against(repos.tree(fleet.path, second), repos.tree(fleet.path, first))}
    assert rows == {"web": Action.DEPLOY, "db": Action.NONE}


def test_an_unknown_repository_is_told(store: Store, config: Config) -> None:
    store.add_push(Push("p1", "nowhere", "refs/heads/main", ZERO, "1" * 40, "ada", now()))
    plan_push(store, Events(config), "p1")
    push = store.push("p1")
    assert push is not None
    assert push.state == "error"
    assert "toto repo add nowhere" in str(push.reason)
