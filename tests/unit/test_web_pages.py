"""The pages for reading, without a browser: they answer, they escape, they say what to do next."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from server.core.config import Config
from server.core.log import LogWriter, log_path
from server.core.model import CheckRow, PlanRow
from server.core.states import Action, HostState, RunState, StageName
from server.core.store import Store
from server.web.app import POLICY, create_app
from server.web.services import KEY
from tests import webdata
from tests.webdata import Fleet

pytest_plugins = ["tests.webfixtures"]
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(1)>"'&{{7*7}}"""


def test_every_page_answers_with_the_policy_and_without_inline_code(client: FlaskClient, fleet: Fleet) -> None:
    paths = ["/", "/runs", "/pushes", "/workers", "/login", "/hosts/web", "/hosts/printer", "/hosts/mail", "/nothing"]
    paths += [f"/runs/{run_id}" for run_id in fleet.runs.values()]
    paths += [f"/pushes/{push_id}" for push_id in fleet.pushes.values()]
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == (404 if path == "/nothing" else 200), path
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text), path


def test_the_fleet_shows_what_needs_a_person_first(client: FlaskClient, fleet: Fleet) -> None:
    rows = re.findall(r'<tr data-key="([^"]+)"', client.get("/").text)
    assert len(rows) == 20
    assert rows[:3] == ["attic", "nas", "web"]
    assert rows[-1] == "wiki"


def test_the_fleet_can_be_filtered_by_text_tag_and_state(client: FlaskClient, fleet: Fleet) -> None:
    def shown(query: str) -> list[str]:
        return re.findall(r'<tr data-key="([^"]+)"', client.get(query).text)

    assert shown("/?q=@dns") == ["ns1", "ns2"]
    assert shown("/?q=WIK") == ["wiki"]
    assert shown("/?state=held") == ["mail"]
    assert shown("/?state=last-run-bad") == ["attic", "web"]
    assert "No host matches" in client.get("/?q=nothing").text


def test_empty_pages_say_what_to_do_next(client: FlaskClient, store: Store) -> None:
    assert "toto repo add" in client.get("/").text
    assert "toto repo add" in client.get("/pushes").text
    store.add_repo("home", "/srv/home.git", "main")
    assert "git remote add toto /srv/home.git" in client.get("/").text
    assert "git push toto main" in client.get("/pushes").text
    assert "No run yet" in client.get("/runs").text


def test_the_history_is_paged_by_key_and_filtered(client: FlaskClient, fleet: Fleet) -> None:
    for _ in range(60):
        fleet.store.add_run([], repo="home", host="wiki", commit="a" * 40, cause="push")
    first = client.get("/runs?host=wiki").text
    ids = re.findall(r'<a href="/runs/(\d+)">\d+</a>', first)
    assert len(ids) == 50
    older = re.search(r'href="(/runs\?[^"]*before=[^"]*)"', first)
    assert older
    rest = re.findall(r'<a href="/runs/(\d+)">\d+</a>', client.get(older[1].replace("&amp;", "&")).text)
    assert len(rest) == 11
    assert not set(ids) & set(rest)
    assert re.findall(r'<a href="/runs/(\d+)">\d+</a>', client.get("/runs?state=error").text) == [fleet.runs["error"]]


def test_a_failed_run_opens_at_the_failure_with_its_diagnostics(client: FlaskClient, fleet: Fleet) -> None:
    page = client.get(f"/runs/{fleet.runs['old-failure']}").text
    assert "1 of 9 checks in no-internet says no: nginx answers on port 80 with 200." in page
    assert "it still runs generation 17" in page
    assert "got: 500" in page
    assert re.search(r'aria-current="step">\s*<span[^>]*>✗</span>\s*<span class="what">no-internet', page)
    assert "not ok 1 - nginx answers" in page, "the log's end is there without JavaScript"


def test_a_stage_can_be_chosen_without_javascript(client: FlaskClient, fleet: Fleet) -> None:
    page = client.get(f"/runs/{fleet.runs['old-failure']}?stage=build").text
    assert "Get:39 stable/main" in page
    assert "\x1b" not in page, "escape sequences are no text"


def test_a_run_that_goes_on_is_live_and_an_ended_one_is_not(client: FlaskClient, fleet: Fleet) -> None:
    running, ended = fleet.runs["running"], fleet.runs["old-failure"]
    assert f'data-live="/api/v1/runs/{running}/events"' in client.get(f"/runs/{running}").text
    assert "data-live" not in client.get(f"/runs/{ended}").text


def test_a_host_shows_its_generations_and_where_it_can_return(client: FlaskClient, fleet: Fleet) -> None:
    page = client.get("/hosts/web").text
    assert "generation 17" in page
    assert "Return to 16" in page
    assert "Return to 17" not in page, "it runs already"
    assert "Return to 18" not in page, "it was never good"
    assert "after the certificate was renewed" in page


def test_a_push_that_has_not_arrived_is_no_bare_404(client: FlaskClient, store: Store) -> None:
    answer = client.get("/pushes/5f0c8d1e-6a57-4f3b-9b6a-3d6c1f1e0a11")
    assert answer.status_code == 202
    assert "Received, waiting to be planned" in answer.text
    assert 'http-equiv="refresh"' in answer.text
    assert client.get("/pushes/..").status_code == 404


def test_a_push_shows_its_plan_with_reasons_and_what_it_leaves_alone(client: FlaskClient, fleet: Fleet) -> None:
    page = client.get(f"/pushes/{fleet.pushes['head']}").text
    assert "curl moves to 7.88.1-10" in page
    assert "13 hosts left alone" in page
    assert f"/runs/{fleet.runs['rolled-back']}" in page


def test_titles_and_icons_show_the_state(client: FlaskClient, fleet: Fleet) -> None:
    page = client.get(f"/runs/{fleet.runs['old-failure']}").text
    assert "<title>✗ web · failed in no-internet · toto</title>" in page
    assert "icon-bad" in page
    assert "icon-busy" in client.get(f"/runs/{fleet.runs['running']}").text
    assert "icon-good" in client.get(f"/runs/{fleet.runs['good']}").text


def test_nothing_that_was_pushed_or_printed_is_markup(client: FlaskClient, config: Config, fleet: Fleet) -> None:
    push = webdata.put_push(
        fleet, "evil", "e" * 40, HOSTILE, 5, ref=f"refs/heads/{HOSTILE}", pusher=HOSTILE, options=(HOSTILE,)
    )
    row = PlanRow("web", True, Action.DEPLOY, HOSTILE, "x")
    values = {"repo": "home", "host": "web", "commit": "e" * 40, "cause": "push", "actor": HOSTILE, "why": HOSTILE}
    fleet.store.save_plan(push.id, [(row, values, [StageName.SMOKE])])
    run = fleet.store.runs(push=push.id)[0]
    fleet.store.start_stage(run.id, 1, StageName.SMOKE)
    check = CheckRow(StageName.SMOKE, HOSTILE, 1, False, HOSTILE, "todo", HOSTILE, HOSTILE)
    fleet.store.add_checks(run.id, 1, [check])
    LogWriter(log_path(config, run.id, StageName.SMOKE), 1 << 20).write(HOSTILE.encode() + b"\n")
    fleet.store.note_stage(run.id, 1, StageName.SMOKE, HOSTILE)
    fleet.store.update_run(run.id, 1, reason=HOSTILE)
    fleet.store.finish_run(run.id, 1, RunState.FAILED, HOSTILE)
    held = {"held_by": HOSTILE, "held_why": HOSTILE, "state": HostState.HELD.value, "reason": HOSTILE}
    fleet.store.set_host("web", tags=[HOSTILE], address=HOSTILE, **held)
    fleet.store.add_act(HOSTILE, "hold", "web", HOSTILE)
    paths = [
        "/",
        "/runs",
        "/pushes",
        "/workers",
        "/hosts/web",
        f"/runs/{run.id}",
        f"/pushes/{push.id}",
        f"/?q={HOSTILE}",
    ]
    for path in [*paths, f"/runs?text={HOSTILE}&host={HOSTILE}&state={HOSTILE}", f"/hosts/{HOSTILE.replace('/', '')}"]:
        page = client.get(path).text
        assert "<script>alert" not in page, path
        assert "<img" not in page, path
    assert "{{7*7}}" in client.get(f"/runs/{run.id}").text, "what was pushed is no template"
    assert "&lt;script&gt;" in client.get(f"/runs/{run.id}").text


def test_errors_are_pages_for_people_and_problems_for_programs(client: FlaskClient, store: Store) -> None:
    assert "There is no run 99." in client.get("/runs/99").text
    answer = client.get("/api/v1/runs/99")
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == 404


def test_a_fault_of_ours_shows_a_mark_and_no_details(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("the secret of the house")

    app.add_url_rule("/broken", view_func=broken)
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "secret of the house" not in answer.text
    mark = re.search(r"marked (\w+)", answer.text)
    assert mark
    assert mark[1] in caplog.text


def test_a_name_that_is_not_ours_is_refused(client: FlaskClient, config: Config, store: Store) -> None:
    answer = client.get("/", base_url="http://rebound.example:8686")
    assert answer.status_code == 421
    assert "url =" in answer.text
    assert client.get("/", base_url="http://localhost:9000").status_code == 200
    assert client.get("/healthz", base_url="http://probe.example").status_code == 200
    named = create_app(Config(data=config.data, url="https://toto.lan"))
    assert named.test_client().get("/", base_url="https://toto.lan").status_code == 200
    named.extensions[KEY].close()


def test_static_files_are_kept_only_under_their_digest(client: FlaskClient, store: Store) -> None:
    link = re.search(r'href="(/static/toto.css\?v=[^"]+)"', client.get("/").text)
    assert link
    assert "immutable" in client.get(link[1]).headers["Cache-Control"]
    assert "immutable" not in client.get("/static/log.js").headers["Cache-Control"]


def test_a_whole_log_is_text_and_a_strange_stage_is_none(client: FlaskClient, fleet: Fleet) -> None:
    answer = client.get(f"/runs/{fleet.runs['old-failure']}/logs/build")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.data.startswith(b"toto: build begins\n")
    assert answer.data.endswith(b"toto: build ends\n")
    assert client.get(f"/runs/{fleet.runs['old-failure']}/logs/nonsense").status_code == 404
