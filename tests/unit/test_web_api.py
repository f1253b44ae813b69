"""The API: the design's fields, problems as problems, logs by offset, acts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.core.config import Config
from server.core.log import LogWriter, compress, log_path
from server.core.states import StageName
from server.core.store import Store
from tests.webclient import log_in, quick_hash, token
from tests.webdata import Fleet, put_push

pytest_plugins = ["tests.webfixtures"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_hosts_have_the_designs_fields(client: FlaskClient, fleet: Fleet) -> None:
    hosts = {host["host"]: host for host in get(client, "/hosts")}
    assert len(hosts) == 20
    assert {"host", "backend", "state", "commit", "generation", "last_good"} <= hosts["web"].keys()
    assert hosts["mail"]["held"] == {"by": "eve", "why": "queue migration"}
    assert hosts["printer"]["generation"] is None
    assert get(client, "/hosts/web") == hosts["web"]
    assert [each["number"] for each in get(client, "/hosts/web/generations")][:2] == [18, 17]


def test_a_run_has_the_designs_fields(client: FlaskClient, fleet: Fleet) -> None:
    run = get(client, f"/runs/{fleet.runs['old-failure']}")
    wanted = {
        "id",
        "host",
        "commit",
        "cause",
        "state",
        "created",
        "started",
        "finished",
        "reason",
        "release",
        "generation",
    }
    assert wanted <= run.keys()
    assert isinstance(run["id"], str)
    assert TIME.fullmatch(run["created"])
    stage = next(stage for stage in run["stages"] if stage["name"] == "no-internet")
    assert stage["state"] == "failed"
    assert stage["checks"] == {"passed": 7, "failed": 1, "skipped": 1, "todo": 0}
    assert TIME.fullmatch(stage["finished"])


def test_runs_are_paged_by_key_and_filtered(client: FlaskClient, fleet: Fleet) -> None:
    newest = get(client, "/runs?limit=2")
    assert [run["id"] for run in newest] == ["21", "20"]
    assert [run["id"] for run in get(client, "/runs?limit=2&before=20")] == ["19", "18"]
    assert {run["state"] for run in get(client, "/runs?state=good")} == {"good"}
    assert {run["host"] for run in get(client, "/runs?host=web")} == {"web"}


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "before=abc", "state=nonsense", "limit=٣"])
def test_a_wrong_query_is_a_problem(client: FlaskClient, store: Store, query: str) -> None:
    answer = client.get(f"/api/v1/runs?{query}")
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_push_has_its_plan_and_runs(client: FlaskClient, fleet: Fleet) -> None:
    push = get(client, f"/pushes/{fleet.pushes['head']}")
    assert {"id", "repo", "ref", "old", "new", "pusher", "received", "plan", "runs"} <= push.keys()
    row = next(row for row in push["plan"]["hosts"] if row["host"] == "ns1")
    assert {"host", "changed", "action", "reason", "identity"} <= row.keys()
    assert (row["changed"], row["action"], row["run"]) == (False, "none", None)
    assert fleet.runs["rolled-back"] in [run["id"] for run in push["runs"]]
    assert [each["id"] for each in get(client, "/pushes?limit=1")] == [fleet.pushes["head"]]


def test_a_push_that_waits_has_no_plan_yet(client: FlaskClient, store: Store) -> None:
    push = put_push(Fleet(store.config, store), "new", "c" * 40, "subject", 1)
    assert get(client, f"/pushes/{push.id}")["plan"] is None


def test_checks_come_in_order_with_depth(client: FlaskClient, fleet: Fleet) -> None:
    checks = get(client, f"/runs/{fleet.runs['old-failure']}/checks?stage=no-internet")
    assert [check["depth"] for check in checks[:4]] == [0, 1, 1, 0]
    (failed,) = get(client, f"/runs/{fleet.runs['old-failure']}/checks?failed=1")
    assert failed["diagnostics"].startswith("got: 500")


def test_a_log_is_read_by_offset_before_and_after_it_is_packed(
    client: FlaskClient, config: Config, fleet: Fleet
) -> None:
    run = fleet.runs["good"]
    path = f"/api/v1/runs/{run}/stages/upgrade/log"
    whole = log_path(config, run, StageName.UPGRADE).read_bytes()
    for _ in range(2):
        read = b""
        while len(read) < len(whole):
            answer = client.get(f"{path}?offset={len(read)}&limit=100")
            assert answer.headers["Toto-Log-Offset"] == str(len(read))
            assert answer.headers["Toto-Log-Length"] == str(len(whole))
            assert answer.content_type == "text/plain; charset=utf-8"
            read += answer.data
        assert read == whole
        compress(config, run)
    assert client.get(f"{path}?offset=99999999").headers["Toto-Log-Offset"] == str(len(whole))


def test_a_log_that_is_not_there_yet_is_empty(client: FlaskClient, fleet: Fleet) -> None:
    answer = client.get(f"/api/v1/runs/{fleet.runs['waiting']}/stages/build/log")
    assert (answer.status_code, answer.data) == (200, b"")
    assert client.get(f"/api/v1/runs/{fleet.runs['waiting']}/stages/nonsense/log").status_code == 404


def test_a_log_of_an_html_page_stays_text(client: FlaskClient, config: Config, fleet: Fleet) -> None:
    run = fleet.runs["waiting"]
    LogWriter(log_path(config, run, StageName.BUILD), 1000).write(b"<html><script>alert(1)</script>\xff\n")
    answer = client.get(f"/api/v1/runs/{run}/stages/build/log")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content_type.startswith("text/plain")


def test_probes_answer(client: FlaskClient, fleet: Fleet) -> None:
    assert client.get("/healthz").text == "ok\n"
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json == {"database": True, "redis": False}
    metrics = client.get("/metrics").text
    assert 'toto_hosts{state="held"} 1\n' in metrics
    assert 'toto_open_runs{state="running"} 1\n' in metrics
    assert "toto_redis_up 0" in metrics


def test_an_unknown_address_is_a_problem(client: FlaskClient, store: Store) -> None:
    answer = client.get("/api/v1/nonsense")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


@pytest.fixture
def headers(client: FlaskClient, fleet: Fleet) -> dict[str, str]:
    fleet.store.set_user("ada", quick_hash(), "administrator")
    assert log_in(client) == 303
    return {"X-CSRF-Token": token(client, "/")}


def test_hold_and_unhold(client: FlaskClient, fleet: Fleet, headers: dict[str, str]) -> None:
    held = client.post("/api/v1/hosts/wiki/hold", json={"why": "a test"}, headers=headers)
    assert held.status_code == 200
    assert held.json is not None
    assert (held.json["state"], held.json["held"]) == ("held", {"by": "ada", "why": "a test"})
    assert client.post("/api/v1/hosts/wiki/unhold", headers=headers).json["state"] == "current"  # type: ignore[index]
    assert [act.act for act in fleet.store.acts(2, "wiki")] == ["unhold", "hold"]


def test_a_hold_without_a_reason_is_a_problem(client: FlaskClient, fleet: Fleet, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/hosts/wiki/hold", json={}, headers=headers)
    assert answer.status_code == 400
    assert answer.json is not None
    assert "reason" in answer.json["detail"]


def test_rollback_by_api_makes_one_run_however_often(
    client: FlaskClient, fleet: Fleet, headers: dict[str, str]
) -> None:
    first = client.post("/api/v1/hosts/wiki/rollback", json={"generation": 29}, headers=headers)
    assert first.status_code == 202
    again = client.post("/api/v1/hosts/wiki/rollback", json={"generation": 29}, headers=headers)
    assert first.json is not None
    assert again.json is not None
    assert again.json["id"] == first.json["id"]
    assert first.json["target_generation"] == 29


@pytest.mark.parametrize(
    "body", [[], "text", 7, {"generation": "x"}, {"generation": True}, {"why": 3}, {"generation": 1.5}]
)
def test_a_wrong_body_is_a_problem(client: FlaskClient, fleet: Fleet, headers: dict[str, str], body: object) -> None:
    answer = client.post("/api/v1/hosts/wiki/rollback", json=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.content_type == "application/problem+json"


def test_cancel_and_retry_of_runs(client: FlaskClient, fleet: Fleet, headers: dict[str, str]) -> None:
    cancelled = client.post(f"/api/v1/runs/{fleet.runs['waiting']}/cancel", headers=headers)
    assert cancelled.json is not None
    assert cancelled.json["state"] == "cancelled"
    assert client.post(f"/api/v1/runs/{fleet.runs['good']}/cancel", headers=headers).status_code == 400
    assert client.post(f"/api/v1/runs/{fleet.runs['good']}/retry", headers=headers).status_code == 400
    assert client.post("/api/v1/runs/999/cancel", headers=headers).status_code == 404
