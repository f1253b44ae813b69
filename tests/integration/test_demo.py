"""The whole main job on real parts: `script/demo`, then Rebuild and Roll back pressed in a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import browser
from tests.services import wait_until

TOP = Path(__file__).parents[2]
EXPECTED = [
    (1, "web", "good"), (1, "db", "good"), (2, "web", "no-op"), (2, "db", "no-op"),
    (3, "web", "failed"), (3, "db", "no-op"), (4, "web", "rolled-back"), (4, "db", "no-op"),
]  # fmt: skip

pytestmark = [pytest.mark.vm, pytest.mark.target, pytest.mark.timeout(2400)]


def left_of(folder: Path) -> list[str]:
    """Processes that name a folder in their arguments or environment, and mounts below it."""
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    for each in Path("/proc").glob("[0-9]*"):
        try:
            said = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in said and int(each.name) != os.getpid():
            found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def assert_nothing_is_left_of(folder: Path) -> None:
    """Within a minute, no process and no mount names the folder any more."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not left_of(folder), 60)
    assert left_of(folder) == []


@dataclass
class Demo:
    """A demo that was kept running."""

    folder: Path
    said: str
    rows: list[dict[str, Any]]

    @property
    def address(self) -> str:
        return re.search(r"The dashboard: (\S+)", self.said)[1]  # type: ignore[index]

    @property
    def login(self) -> tuple[str, str]:
        found = re.search(r"log in as (\S+), password (\S+)\)", self.said)
        assert found
        return found[1], found[2]

    def toto(self, *words: str) -> Any:
        argv = [TOP / ".venv/bin/toto", *words, "--data", self.folder / "data", "--json"]
        done = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)

    def root(self, host: str, command: str) -> str:
        argv = [TOP / "script/target", "root", self.folder / "targets" / host, command]
        return subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=True).stdout.strip()

    def push(self, file: str, old: str, new: str) -> str:
        """Change a file of the checkout and push it; the id of the push."""
        checkout = self.folder / "checkout"
        path = checkout / file
        path.write_text(path.read_text().replace(old, new))
        author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *author, "-C", checkout, "commit", "-qam", "Change it"], check=True)
        push = ["git", "-C", checkout, "push", "toto", "main"]
        # The demo entered its repository in the machine's own git settings, which tests hide from themselves.
        env = {name: value for name, value in os.environ.items() if name != "GIT_CONFIG_SYSTEM"}
        done = subprocess.run(push, check=True, text=True, capture_output=True, env=env)
        return re.search(r"/pushes/(\w+)", done.stderr)[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's four pushes, once; all of it still running."""
    folder = Path("/var/tmp") / f"toto-demo-test.{os.getpid()}"
    said = tmp_path_factory.mktemp("demo") / "demo.json"
    done = subprocess.run(
        [TOP / "script" / "demo", "--keep", "--folder", folder, "--json", said], text=True, capture_output=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    rows = json.loads(said.read_text()) if said.exists() else []
    yield Demo(folder, done.stdout + done.stderr, rows)
    ends = re.search(r"^To end it: (.*)$", done.stdout, re.M)
    if ends:
        subprocess.run(["sh", "-c", ends[1]], cwd=TOP, check=False)
    assert_nothing_is_left_of(folder)


def test_all_four_pushes_come_as_expected(demo: Demo) -> None:
    assert [(row["push"], row["host"], row["state"]) for row in demo.rows] == EXPECTED, demo.said[-6000:]
    assert all(row["state"] == row["expected"] and row["seconds"] >= 0 for row in demo.rows)
    assert all(row["service"] == "as expected" for row in demo.rows), demo.rows


def test_every_stage_ran_on_real_parts(demo: Demo) -> None:
    first = demo.toto("runs", "1")
    stages = {stage["name"]: stage["state"] for stage in first["stages"]}
    assert stages.pop("upgrade") == "skipped"  # there was nothing to come from
    assert set(stages.values()) == {"passed"}
    last = demo.toto("runs", "--host", "web", "--limit", "1")[0]
    stages = {stage["name"]: stage["state"] for stage in demo.toto("runs", last["id"])["stages"]}
    assert stages["upgrade"] == "passed"
    assert (stages["post-switch"], stages["rollback"], stages["rollback-check"]) == ("failed", "passed", "passed")


def ended(demo: Demo, page: Page) -> dict[str, Any]:
    """The run whose page is shown, once it has ended: the page itself has to say so, without a reload."""
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    number = page.url.rsplit("/", 1)[1]
    expect(page.locator("main .state").first).to_have_text(re.compile("good|failed|error|rolled back"), timeout=900_000)
    wait_until(lambda: demo.toto("runs", number)["finished"], 30, "the run's end in the database")
    run: dict[str, Any] = demo.toto("runs", number)
    return run


@pytest.mark.browser
def test_rebuild_and_roll_back_are_pressed_and_followed_to_the_end(demo: Demo) -> None:
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{demo.address}/login")
        name, password = demo.login
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()

        page.goto(f"{demo.address}/hosts/db")
        page.get_by_role("link", name="Rebuild").click()
        expect(page.get_by_role("dialog")).to_contain_text("install nothing, because generation 1 runs it already")
        page.get_by_role("button", name="Rebuild db").click()
        run = ended(demo, page)
        assert (run["state"], run["cause"], run["generation"]) == ("good", "rebuild", 1)
        assert demo.toto("hosts", "db")[0]["generation"] == 1

        push = demo.push("files/db/redis.conf", "maxmemory 64mb", "maxmemory 32mb")
        assert [run["state"] for run in demo.toto("follow", push)["runs"] if run["host"] == "db"] == ["good"]
        assert demo.root("db", "redis-cli config get maxmemory | tail -n 1") == str(32 * 1024**2)

        page.goto(f"{demo.address}/hosts/db")
        page.get_by_role("link", name="Roll back").click()
        expect(page.get_by_role("dialog")).to_contain_text("Return db from generation 2 to generation 1")
        page.get_by_role("button", name="Roll back db").click()
        run = ended(demo, page)
        assert (run["state"], run["cause"], run["generation"]) == ("good", "rollback", 1)
    host = demo.toto("hosts", "db")[0]
    assert (host["generation"], host["last_good"], host["state"]) == (1, 1, "held")
    assert demo.root("db", "redis-cli config get maxmemory | tail -n 1") == str(64 * 1024**2)


def test_what_was_rolled_back_is_held_not_tried_again(demo: Demo) -> None:
    push = demo.push("README.md", "Two hosts", "There are two hosts")
    plan = {row["host"]: row["action"] for row in demo.toto("follow", push)["plan"]["hosts"]}
    assert plan == {"web": "held", "db": "held"}


def test_a_demo_that_is_interrupted_leaves_nothing(open_folder: Path) -> None:
    folder = open_folder / "demo"
    log = (open_folder / "log").open("w")
    argv = [TOP / "script" / "demo", "--folder", folder]
    demo = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: "/pushes/" in Path(log.name).read_text() or demo.poll() is not None, 300, "the first push")
    finally:
        os.kill(demo.pid, signal.SIGTERM)
    demo.wait(120)
    assert "/pushes/" in Path(log.name).read_text(), Path(log.name).read_text()[-3000:]
    assert_nothing_is_left_of(folder)
    assert not folder.exists()
