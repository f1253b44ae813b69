"""The pages in a real browser: nothing in its console, live without reloading, safe, fit for a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from server.core.config import Config
from server.core.events import Events
from server.core.log import LogWriter, log_path
from server.core.model import CheckRow, PlanRow, Run
from server.core.states import Action, HostState, RunState, StageName, StageState
from tests.browser import browser as started_browser
from tests.webclient import quick_hash
from tests.webdata import LADDER, Fleet, copy_into, put_push
from tests.webserver import free_port, served

pytestmark = [pytest.mark.browser, pytest.mark.redis]
HOSTILE = """</script></pre><script>window.hacked=1</script><img src=x onerror="window.hacked=1">"'&{{7*7}}‮evil"""
ANSI = "\x1b[31mred\x1b[0m \x1b]8;;javascript:window.hacked=1\x07link\x1b]8;;\x07 \x1b[2J\x1b]0;title\x07plain"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture
def fleet(redis_config: Config) -> Iterator[Fleet]:
    made = copy_into(redis_config)
    made.store.set_user("ada", quick_hash(), "administrator")
    yield made
    made.store.close()


@pytest.fixture
def address(fleet: Fleet) -> Iterator[str]:
    with served(replace(fleet.config, port=0)) as found:
        yield found


@pytest.fixture
def complaints(address: str) -> list[str]:
    """What the browser's console said; taken after `address`, so that the page is closed before toto is."""
    return []


@pytest.fixture
def page(chromium: Browser, complaints: list[str]) -> Iterator[Page]:
    """A fresh page at a desk; it fails the test where the browser complained."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    bad = ("error", "warning")
    made.on("console", lambda message: complaints.append(message.text) if message.type in bad else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    context.close()
    assert complaints == []


def start_run(fleet: Fleet, host: str = "wiki") -> Run:
    """A run at its first stage."""
    run = fleet.store.add_run(LADDER, repo="home", host=host, commit="a" * 40, cause="push")
    fleet.store.claim(run.id, 1, "build")
    fleet.store.start_stage(run.id, 1, StageName.BUILD)
    return run


def paths(fleet: Fleet) -> list[str]:
    found = ["/", "/runs", "/pushes", "/workers", "/login", "/hosts/web", "/hosts/printer", "/hosts/mail"]
    found += [f"/runs/{run_id}" for run_id in fleet.runs.values()]
    return found + [f"/pushes/{push_id}" for push_id in fleet.pushes.values()]


def test_every_page_loads_without_a_complaint(page: Page, address: str, fleet: Fleet) -> None:
    for path in paths(fleet):
        page.goto(address + path)
        expect(page.locator("h1")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_scrolls_sideways(chromium: Browser, address: str, fleet: Fleet, width: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    for path in paths(fleet):
        page.goto(address + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path} is {wide} wide at {width}"
        cut = page.evaluate(
            "[...document.querySelectorAll('.sheet')].filter(s => s.scrollWidth > s.clientWidth).length"
        )
        assert cut == 0, f"{path} cuts a table at {width}"
    context.close()


def test_buttons_on_a_phone_are_as_wide_as_a_thumb(chromium: Browser, address: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{address}/hosts/web")
    for name in ("Rebuild", "Verify", "Hold", "Roll back"):
        box = page.get_by_role("link", name=name, exact=True).bounding_box()
        assert box
        assert box["height"] >= 44
        assert box["width"] >= 120
    context.close()


def test_a_run_grows_without_reloading(page: Page, address: str, fleet: Fleet) -> None:
    run, events, store = start_run(fleet), Events(fleet.config), fleet.store
    page.goto(f"{address}/runs/{run.id}")
    page.evaluate("window.mark = 'the same page'")
    log = LogWriter(log_path(fleet.config, run.id, StageName.BUILD), 1 << 20, lambda length: None)
    log.write("Grüße, first line\n".encode())
    expect(page.locator("#log .l").first).to_contain_text("Grüße, first line")
    store.finish_stage(run.id, 1, StageName.BUILD, StageState.PASSED, "lock unchanged")
    store.start_stage(run.id, 1, StageName.NO_INTERNET)
    events.tell("stage", run=run.id, stage="no-internet")
    expect(page.locator('[data-stage="build"] small')).to_have_text("lock unchanged")
    expect(page.locator('a[aria-current="step"]')).to_contain_text("no-internet")
    check = CheckRow(StageName.NO_INTERNET, "10-http.sh", 1, False, "nginx answers", diagnostics="got: 500")
    store.add_checks(run.id, 1, [check])
    events.tell("check", run=run.id, stage="no-internet")
    expect(page.locator(".checks .no")).to_contain_text("nginx answers")
    expect(page.locator(".checks .no")).to_contain_text("got: 500")
    store.finish_stage(run.id, 1, StageName.NO_INTERNET, StageState.FAILED, "no")
    store.finish_run(run.id, 1, RunState.FAILED, "no-internet: 10-http.sh: not ok 1 - nginx answers")
    events.tell("run", run=run.id)
    expect(page.locator(".why")).to_contain_text("1 of 1 check in no-internet says no: nginx answers.")
    expect(page).to_have_title(re.compile("^✗ wiki · failed in no-internet"))
    assert "icon-bad" in (page.locator("link[rel=icon]").get_attribute("href") or "")
    assert page.evaluate("window.mark") == "the same page"


def test_a_log_loses_and_repeats_nothing_while_toto_is_away(page: Page, complaints: list[str], fleet: Fleet) -> None:
    run = start_run(fleet)
    log = LogWriter(log_path(fleet.config, run.id, StageName.BUILD), 1 << 24, lambda length: None)
    config = replace(fleet.config, port=free_port())
    with served(config) as address:
        page.goto(f"{address}/runs/{run.id}")
        log.write("".join(f"line {number} ä\n" for number in range(500)).encode() + b"half of line 500 \xc3")
        expect(page.locator("#log-about")).to_contain_text("501 lines")
    expect(page.locator("#link")).to_have_text("not live", timeout=10000)
    log.write(b"\xa4 and its end\n" + "".join(f"line {number} ä\n" for number in range(501, 1500)).encode())
    with served(config):
        expect(page.locator("#log-about")).to_contain_text("1,500 lines", timeout=20000)
        expect(page.locator("#link")).to_be_empty()
        for number in (1, 500, 501, 502, 1500):
            page.evaluate(f"location.hash = 'L{number}'")
            text = "half of line 500 ä and its end" if number == 501 else f"line {number - 1} ä"
            expect(page.locator("#log .mark > span")).to_have_text(text)
    assert all("Failed to load resource" in text or "ERR_" in text for text in complaints)
    complaints.clear()


def test_a_hundred_thousand_lines_stay_usable(page: Page, address: str, fleet: Fleet) -> None:
    run = start_run(fleet)
    log = LogWriter(log_path(fleet.config, run.id, StageName.BUILD), 1 << 24, lambda length: None)
    said = "something a build says, of the usual length for such a line"
    log.write("".join(f"{number}: {said}\n" for number in range(100_000)).encode())
    fleet.store.finish_run(run.id, 1, RunState.FAILED, "no")
    page.goto(f"{address}/runs/{run.id}")
    expect(page.locator("#log-about")).to_contain_text("100,000 lines", timeout=30000)
    assert page.locator("#log .l").count() < 300, "only the lines in sight are in the page"
    page.goto(f"{address}/runs/{run.id}#L70000")
    page.reload()
    expect(page.locator("#log .mark")).to_contain_text("69999: something", timeout=30000)


def test_colours_are_shown_and_other_escapes_are_not(page: Page, address: str, fleet: Fleet) -> None:
    run = start_run(fleet)
    log = LogWriter(log_path(fleet.config, run.id, StageName.BUILD), 1 << 20, lambda length: None)
    log.write(ANSI.encode() + b"\nnot ok 1 - broken\n10%\r50%\r100%\n")
    page.goto(f"{address}/runs/{run.id}")
    expect(page.locator("#log .l").nth(0).locator("> span")).to_have_text("red link plain")
    expect(page.locator("#log .a31")).to_have_text("red")
    expect(page.locator("#log .l.no")).to_contain_text("not ok 1 - broken")
    expect(page.locator("#log .l").nth(2).locator("> span")).to_have_text("100%")
    assert page.locator("#log a:not([href^='#L'])").count() == 0, "no link is made of what a log says"


def test_hostile_text_stays_text_everywhere(page: Page, address: str, fleet: Fleet) -> None:
    store = fleet.store
    given = {"ref": f"refs/heads/{HOSTILE}", "pusher": HOSTILE, "options": (HOSTILE,)}
    push = put_push(fleet, "evil", "e" * 40, HOSTILE, 5, **given)
    fields = {"repo": "home", "host": "web", "commit": "e" * 40, "cause": "push", "actor": HOSTILE, "why": HOSTILE}
    store.save_plan(push.id, [(PlanRow("web", True, Action.DEPLOY, HOSTILE, "x"), fields, LADDER)])
    run = store.runs(push=push.id)[0]
    store.claim(run.id, 1, "build")
    store.start_stage(run.id, 1, StageName.SMOKE)
    texts = [HOSTILE, ANSI, "\x1b[31;<img src=x onerror=window.hacked=1>m", "<!--", "</pre></div></body>"]
    rows = [CheckRow(StageName.SMOKE, HOSTILE, n, n > 1, text, "skip", text, text) for n, text in enumerate(texts, 1)]
    store.add_checks(run.id, 1, rows)
    log = LogWriter(log_path(fleet.config, run.id, StageName.SMOKE), 1 << 20, lambda length: None)
    for text in texts:
        log.write(text.encode() + b"\nnot ok 1 " + text.encode() + b"\n")
    store.note_stage(run.id, 1, StageName.SMOKE, HOSTILE)
    held = {"held_by": HOSTILE, "held_why": HOSTILE, "state": HostState.HELD.value, "reason": HOSTILE}
    store.set_host("web", tags=[HOSTILE], address=HOSTILE, **held)
    store.add_act(HOSTILE, "hold", "web", HOSTILE)
    shown = ["/", "/runs", "/pushes", "/workers", "/hosts/web", f"/runs/{run.id}", f"/pushes/{push.id}"]
    for path in shown:
        page.goto(address + path)
        expect(page.locator("body")).to_contain_text("window.hacked=1")
        _unharmed(page)
    page.goto(f"{address}/runs/{run.id}")
    expect(page.locator("#log")).to_contain_text("<script>window.hacked=1</script>")
    store.finish_run(run.id, 1, RunState.FAILED, HOSTILE)  # while it is looked at: parts are fetched again
    Events(fleet.config).tell("run", run=run.id)
    expect(page.locator(".why")).to_contain_text("<script>window.hacked=1</script>")
    _unharmed(page)


def _unharmed(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("body script").count() == 0


def test_the_fleet_changes_without_reloading(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(address)
    page.evaluate("window.mark = 'the same page'")
    page.get_by_label("Find hosts").fill("half a word")
    fleet.store.set_host("wiki", state=HostState.UNREACHABLE.value, reason="the cable is out")
    Events(fleet.config).tell("host", host="wiki")
    expect(page.locator('tr[data-key="wiki"]')).to_contain_text("the cable is out")
    expect(page.get_by_label("Find hosts")).to_have_value("half a word")
    assert page.evaluate("window.mark") == "the same page"


def test_a_push_that_arrives_shows_itself(page: Page, address: str, fleet: Fleet) -> None:
    page.goto(f"{address}/pushes/00000004-aaaa-4bbb-8ccc-0123456789ab")
    expect(page.locator(".why")).to_contain_text("Received, waiting to be planned.")
    put_push(fleet, "late", "d" * 40, "Arrived at last", 1)
    expect(page.locator("h1")).to_have_text("Arrived at last", timeout=10000)


def test_what_is_open_stays_open_when_the_page_changes(page: Page, address: str, fleet: Fleet) -> None:
    run = fleet.runs["running"]
    page.goto(f"{address}/runs/{run}")
    page.locator("summary", has_text="stock/base").click()
    expect(page.get_by_text("the disk has room").first).to_be_visible()
    fleet.store.note_stage(run, 1, StageName.SMOKE, "still at it")
    fleet.store.add_checks(run, 1, [CheckRow(StageName.SMOKE, "10-http.sh", 12, True, "one more")])
    Events(fleet.config).tell("check", run=run, stage="smoke")
    expect(page.locator(".checks")).to_contain_text("one more")
    expect(page.locator("#log-box")).to_be_visible()
    assert page.locator('details[data-key="smoke/stock/base"]').get_attribute("open") is not None


def test_keys_list_and_lead(page: Page, address: str) -> None:
    page.goto(address)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Fleet")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.locator("h1")).to_have_text("Runs")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("run ")


def test_reading_works_without_javascript(chromium: Browser, address: str, fleet: Fleet) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/runs/{fleet.runs['old-failure']}")
    expect(page.locator(".why")).to_contain_text("nginx answers on port 80 with 200")
    expect(page.locator("#log")).to_contain_text("not ok 1 - nginx answers")
    page.get_by_role("link", name="build").click()
    expect(page.locator("#log")).to_contain_text("Get:39 stable/main")
    context.close()
