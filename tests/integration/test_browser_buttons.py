"""The buttons in a real browser: each says exactly what it will do, does it once, and leads to what can be watched."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from server.core import fleet as fleets
from server.core import repos
from server.core.config import Config
from server.core.states import Cause, RunState
from tests.browser import browser as started_browser
from tests.webclient import PASSWORD, quick_hash
from tests.webdata import Fleet, copy_into
from tests.webserver import served

pytestmark = [pytest.mark.browser, pytest.mark.redis]
FLEET = """[fleet]
name = "home"
[defaults]
backend = "debian"
[hosts.wiki]
address = "wiki.lan"
config = "host.toml"
[hosts.chat]
address = "chat.lan"
config = "host.toml"
"""


def git(*arguments: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture
def fleet(redis_config: Config, tmp_path: Path) -> Iterator[Fleet]:
    """The busy fleet, with a real repository in which `wiki` is unchanged and `chat` is not."""
    made = copy_into(redis_config)
    made.store.set_user("ada", quick_hash(), "administrator")
    bare = repos.create(redis_config, "home")
    made.store.add_repo("home", str(bare), "main")
    work = tmp_path / "work"
    git("clone", "-q", str(bare), str(work), cwd=tmp_path)
    (work / "fleet.toml").write_text(FLEET)
    (work / "host.toml").write_text('suite = "bookworm"\npackages = ["curl"]\n')
    git("add", "-A", cwd=work)
    git("commit", "-qm", "First", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    commit = repos.resolve(bare, "main")
    tree = repos.tree(bare, commit)
    identity = fleets.evaluate(tree, fleets.load(tree), "wiki").identity
    made.store.set_host("wiki", identity=identity, wanted=identity)
    yield made
    made.store.close()


@pytest.fixture
def address(fleet: Fleet) -> Iterator[str]:
    with served(replace(fleet.config, port=0)) as found:
        yield found


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto(f"{address}/login")
    made.get_by_label("Name").fill("ada")
    made.get_by_label("Password").fill(PASSWORD)
    made.get_by_role("button", name="Log in").click()
    expect(made.get_by_role("button", name="Log out")).to_be_visible()
    yield made
    context.close()
    assert complaints == []


def test_rebuild_of_an_unchanged_host_says_that_nothing_is_installed(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/hosts/wiki")
    page.get_by_role("link", name="Rebuild").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Build wiki's release at main")
    expect(dialog).to_contain_text("install nothing, because generation 31 runs it already")
    dialog.get_by_label("Why").fill("the mirror was away")
    dialog.get_by_role("button", name="Rebuild wiki").click()
    expect(page.locator("h1")).to_contain_text("wiki run")
    expect(page.locator(".asked")).to_contain_text("ada said: the mirror was away")
    run = fleet.store.runs(host="wiki", limit=1)[0]
    assert (run.cause, run.actor, run.why, run.state) == (Cause.REBUILD, "ada", "the mirror was away", RunState.WAITING)
    page.goto(f"{address}/hosts/wiki/rebuild")
    page.get_by_role("button", name="Rebuild wiki").click()
    expect(page.locator("h1")).to_contain_text(f"wiki run {run.id}")
    assert fleet.store.runs(host="wiki", limit=1)[0].id == run.id, "pressing twice makes one run"


def test_rebuild_of_a_changed_host_says_that_it_is_activated(page: Page, address: str) -> None:
    page.goto(f"{address}/hosts/chat")
    page.get_by_role("link", name="Rebuild").click()
    expect(page.get_by_role("dialog")).to_contain_text("then activate it on chat as a new generation")


def test_rebuild_at_another_ref_says_so_or_why_not(page: Page, address: str) -> None:
    page.goto(f"{address}/hosts/wiki/rebuild")
    page.get_by_text("Another branch, tag or commit").click()
    page.get_by_label("Branch, tag or commit").fill("no-such-branch")
    page.get_by_role("button", name="Say what that does").click()
    expect(page.locator(".will")).to_contain_text("no-such-branch")
    expect(page.get_by_role("button", name="Rebuild wiki")).to_have_count(0)


def test_roll_back_says_from_where_to_where_and_holds(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/hosts/wiki")
    page.get_by_role("link", name="Roll back").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Return wiki from generation 31 to generation 30")
    expect(dialog).to_contain_text("wiki is held")
    dialog.get_by_role("link", name="Leave it").click()
    expect(dialog).not_to_be_visible()
    assert fleet.store.host("wiki").held_by is None  # type: ignore[union-attr]
    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("button", name="Roll back wiki").click()
    expect(page.locator("h1")).to_contain_text("wiki run")
    run = fleet.store.runs(host="wiki", limit=1)[0]
    assert (run.cause, run.target_generation, run.actor) == (Cause.ROLLBACK, 30, "ada")
    page.goto(f"{address}/hosts/wiki")
    expect(page.locator(".why")).to_contain_text("Held by ada")


def test_roll_back_to_a_chosen_generation(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/hosts/wiki")
    page.get_by_role("link", name="Return to 28").click()
    expect(page.get_by_role("dialog")).to_contain_text("from generation 31 to generation 28")
    page.get_by_role("button", name="Roll back wiki").click()
    expect(page.locator("h1")).to_contain_text("wiki run")
    assert fleet.store.runs(host="wiki", limit=1)[0].target_generation == 28


def test_hold_and_release(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/hosts/chat")
    page.get_by_role("link", name="Hold").click()
    page.get_by_role("dialog").get_by_label("Why").fill("<b>moving house</b>")
    page.get_by_role("button", name="Hold chat").click()
    expect(page.locator(".why")).to_contain_text("Held by ada: <b>moving house</b>.")
    page.get_by_role("link", name="Release").click()
    expect(page.get_by_role("dialog")).to_contain_text("End the hold of chat (by ada: <b>moving house</b>).")
    page.get_by_role("button", name="Release chat").click()
    expect(page.get_by_role("link", name="Hold")).to_be_visible()
    assert [act.act for act in fleet.store.acts(2, "chat")] == ["unhold", "hold"]


def test_verify_cancel_and_retry(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/hosts/chat")
    page.get_by_role("link", name="Verify").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing is changed there.")
    page.get_by_role("button", name="Verify chat").click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text("it ends now as cancelled")
    page.get_by_role("button", name="Cancel run").click()
    expect(page.locator(".bar .state")).to_have_text("cancelled")
    page.goto(f"{address}/runs/{fleet.runs['old-failure']}")
    page.get_by_role("link", name="Retry").click()
    expect(page.get_by_role("dialog")).to_contain_text("Make a new run that brings web to commit 9f3c2ab")


def test_who_is_not_logged_in_is_asked_to_and_comes_back(chromium: Browser, address: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{address}/hosts/wiki")
    page.get_by_role("link", name="Roll back").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".will")).to_contain_text("Return wiki from generation 31 to generation 30")
    box = page.get_by_role("button", name="Roll back wiki").bounding_box()
    assert box
    assert box["height"] >= 44
    context.close()


def test_a_button_works_without_javascript(chromium: Browser, address: str, fleet: Fleet) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/hosts/wiki/rollback")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Roll back wiki").click()
    expect(page.locator("h1")).to_contain_text("wiki run")
    context.close()
