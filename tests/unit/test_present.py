"""Values as JSON: the design's contract for `--json` and the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from server.core import present
from server.core.model import Counts, Generation, Host, PlanRow, Push, Run, Stage
from server.core.states import Action, Backend, Cause, HostState, RunState, StageName, StageState

NOW = datetime(2026, 11, 3, 14, 5, 9, 120_999, tzinfo=UTC)
RUN = Run("7", "home", "web", "a" * 40, Cause.PUSH, RunState.RUNNING, NOW)
PUSH = Push("p1", "home", "refs/heads/main", "0" * 40, "a" * 40, "ada", NOW)


def test_times_are_rfc_3339_in_utc_whatever_zone_they_come_in() -> None:
    assert present.time_json(NOW) == "2026-11-03T14:05:09.120Z"
    assert present.time_json(NOW.astimezone(timezone(timedelta(hours=5)))) == "2026-11-03T14:05:09.120Z"
    assert present.time_json(None) is None


def test_a_run_has_the_contracts_fields_and_unknown_is_null() -> None:
    said = present.run_json(RUN)
    assert {key: said[key] for key in ("id", "host", "cause", "state", "started", "finished", "release")} == {
        "id": "7", "host": "web", "cause": "push", "state": "running",
        "started": None, "finished": None, "release": None,
    }  # fmt: skip
    assert "stages" not in said
    stage = Stage(StageName.BOOT, StageState.PASSED, NOW, NOW, "SSH after 16 s", Counts(3, 1, 2, 4))
    (shown,) = present.run_json(RUN, [stage])["stages"]
    assert shown["checks"] == {"passed": 3, "failed": 1, "skipped": 2, "todo": 4}
    assert (shown["name"], shown["state"]) == ("boot", "passed")


def test_a_plan_speaks_of_every_host() -> None:
    rows = [PlanRow("web", True, Action.DEPLOY, "curl", "i1"), PlanRow("db", False, Action.NONE, "the same", "i2")]
    said = present.plan_json("a" * 40, rows)
    assert said["commit"] == "a" * 40
    assert [(row["host"], row["changed"], row["action"], row["identity"]) for row in said["hosts"]] == [
        ("web", True, "deploy", "i1"),
        ("db", False, "none", "i2"),
    ]


def test_a_push_that_waits_has_a_plan_of_null_and_a_planned_one_has_its_own() -> None:
    assert present.push_json(PUSH, [], [])["plan"] is None
    planned = Push(**{**PUSH.__dict__, "state": "planned"})
    assert present.push_json(planned, [], [RUN])["plan"] == {"commit": "a" * 40, "hosts": []}
    assert present.push_json(planned, [], [RUN])["runs"][0]["id"] == "7"
    assert "plan" not in present.push_json(planned)


def test_a_host_speaks_in_generation_numbers() -> None:
    host = Host("web", "home", Backend.DEBIAN, HostState.HELD, generation=18, last_good=17, held_by="eve", held_why="x")
    said = present.host_json(host)
    assert (said["generation"], said["last_good"], said["state"], said["backend"]) == (18, 17, "held", "debian")
    assert said["held"] == {"by": "eve", "why": "x"}
    assert present.host_json(Host("new", "home", Backend.NIXOS, HostState.NEW))["generation"] is None


def test_all_of_it_is_json() -> None:
    generation = Generation("web", 0, None, None, None, "good", NOW)
    stage = Stage(StageName.BUILD, StageState.WAITING)
    for said in (present.run_json(RUN, [stage]), present.generation_json(generation), present.push_json(PUSH)):
        json.dumps(said, allow_nan=False)
