"""A fleet as it looks on a busy day, put into a store through its own methods: for the web's tests and screenshots."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import update

from server.core import tables as t
from server.core.config import Config
from server.core.log import LogWriter, log_path
from server.core.model import CheckRow, Generation, PlanRow, Push, Release, Run
from server.core.states import (
    DEPLOY_STAGES,
    REHEARSAL_STAGES,
    ROLLBACK_STAGES,
    Action,
    Backend,
    HostState,
    RunState,
    StageName,
    StageState,
)
from server.core.store import Store

LADDER = (*REHEARSAL_STAGES, *DEPLOY_STAGES)
HEAD = "9f3c2ab4e1d07c55aa19f20be3c1d2e4f5061728"
EARLIER = "71d0aa2b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f"
OLDER = "2c11f0983b7a6d5e4c3b2a190f8e7d6c5b4a3928"
SECONDS = (5.1, 17.2, 58.0, 41.5, 63.0, 22.0, 9.4, 3.2, 12.8, 0.3)
CALM = ("ns1", "ns2", "git", "proxy", "build1", "build2", "cache", "backup", "metrics", "logs", "chat", "wiki", "vpn")


@dataclass
class Fleet:
    """What was put in, by name."""

    config: Config
    store: Store
    runs: dict[str, str] = field(default_factory=dict)
    pushes: dict[str, str] = field(default_factory=dict)


def moment(ago: float) -> datetime:
    """So many seconds before now."""
    return datetime.now(UTC) - timedelta(seconds=ago)


def put_run(
    fleet: Fleet,
    host: str,
    state: RunState = RunState.GOOD,
    *,
    ago: float = 3600,
    stages: Sequence[StageName] = LADDER,
    until: StageName | None = None,
    last: StageState = StageState.FAILED,
    **values: Any,
) -> Run:
    """A run of `host` that began `ago` seconds ago; the stages before `until` passed, `until` is `last`."""
    store = fleet.store
    fields = {"repo": "home", "host": host, "commit": HEAD, "cause": "push", "identity": "i" * 64, **values}
    run = store.add_run(stages, **fields)
    clock = moment(ago)
    ended = until is None and state.final
    for place, name in enumerate(stages):
        if not ended and until is None:
            break
        store.start_stage(run.id, 1, name)
        here = name is until
        checks = here_checks(name, failed=1 if here and last is StageState.FAILED else 0)
        store.add_checks(run.id, 1, checks)
        write_log(fleet.config, run.id, name, checks)
        finish = clock + timedelta(seconds=SECONDS[place % len(SECONDS)])
        reason = {"build": "lock unchanged, 1 file", "boot": "SSH after 16 s"}.get(name.value)
        if not (here and last is StageState.RUNNING):
            store.finish_stage(run.id, 1, name, last if here else StageState.PASSED, reason)
        _date_stage(store, run.id, name, clock, None if here and last is StageState.RUNNING else finish)
        clock = finish
        if here:
            break
    _date_run(store, run, state, moment(ago), clock)
    found = store.run(run.id)
    assert found is not None
    return found


def _date_stage(store: Store, run_id: str, name: StageName, started: datetime, finished: datetime | None) -> None:
    this = (t.stages.c.run == int(run_id), t.stages.c.name == name.value)
    with store.write() as connection:
        connection.execute(update(t.stages).where(*this).values(started=started, finished=finished))


def _date_run(store: Store, run: Run, state: RunState, started: datetime, finished: datetime) -> None:
    if state.final:
        store.finish_run(run.id, 1, state, run.reason)
    values: dict[str, Any] = {"created": started, "state": state.value}
    values["started"] = None if state is RunState.WAITING else started
    values["finished"] = finished if state.final else None
    with store.write() as connection:
        connection.execute(update(t.runs).where(t.runs.c.id == int(run.id)).values(values))


def here_checks(stage: StageName, failed: int = 0) -> list[CheckRow]:
    """What a stage's tests say."""
    if stage not in (StageName.NO_INTERNET, StageName.WITH_INTERNET, StageName.SMOKE, StageName.POST_SWITCH):
        return []
    rows = [
        CheckRow(
            stage,
            "10-http.sh",
            1,
            not failed,
            "nginx answers on port 80 with 200",
            diagnostics="got: 500\nwant: 200\nbody: |\n  <h1>Internal Server Error</h1>" if failed else None,
        ),
        CheckRow(stage, "10-http.sh", 2, True, "port 80 is open", depth=1),
        CheckRow(stage, "10-http.sh", 3, True, "port 443 is open", depth=1),
        CheckRow(stage, "10-http.sh", 4, True, "the ports that should be open are"),
        CheckRow(stage, "10-http.sh", 5, True, "the certificate is renewed", directive="skip", reason="no network"),
        CheckRow(stage, "10-http.sh", 6, True, "no error in the journal"),
    ]
    stock = ("SSH answers", "no unit has failed", "the clock is right", "the disk has room", "dpkg --audit is content")
    rows += [CheckRow(stage, "stock/base", place, True, text) for place, text in enumerate(stock, 7)]
    return rows


def write_log(config: Config, run_id: str, stage: StageName, checks: Sequence[CheckRow]) -> None:
    """A log as such a stage writes it."""
    log = LogWriter(log_path(config, run_id, stage), 1 << 24)
    log.line(f"{stage.value} begins")
    if not checks:
        for number in range(40):
            log.write(f"\x1b[32mGet:{number}\x1b[0m stable/main nginx-light {number}.22-3 amd64\n".encode())
    for check in checks:
        pad, ok = "    " * check.depth, "ok" if check.ok else "not ok"
        log.write(f"{pad}{ok} {check.number} - {check.description}\n".encode())
        if check.diagnostics:
            said = "\n".join("  " + line for line in check.diagnostics.splitlines())
            log.write(f"  ---\n{said}\n  ...\n".encode())
    log.line(f"{stage.value} ends")
    log.close()


def put_push(fleet: Fleet, name: str, commit: str, subject: str, ago: float, **values: Any) -> Push:
    """A push to the deployed branch."""
    number = len(fleet.pushes) + 1
    made = Push(
        id=f"{number:08d}-aaaa-4bbb-8ccc-0123456789ab",
        repo="home",
        ref="refs/heads/main",
        old=EARLIER,
        new=commit,
        pusher="ada",
        received=moment(ago),
        subject=subject,
    )
    made = replace(made, **values)
    fleet.store.add_push(made)
    fleet.pushes[name] = made.id
    return made


def put_host(fleet: Fleet, name: str, generation: int | None, **values: Any) -> None:
    """A host with its generations."""
    found: dict[str, Any] = {
        "state": HostState.CURRENT.value,
        "commit": HEAD,
        "generation": generation,
        "last_good": generation,
        "identity": "i" * 64,
        "wanted": "i" * 64,
        "release": f"{generation or 0:x}" + "c0ffee" * 10,
        "address": f"{name}.lan",
        "host_key": "ssh-ed25519 AAAA",
        "seen": moment(90),
    }
    if generation is None:
        found |= {"commit": None, "release": None, "identity": None, "state": HostState.NEW.value}
    fleet.store.put_host(name, "home", Backend.DEBIAN, **{**found, **values})
    for number in range(max(0, (generation or 0) - 4), (generation or 0) + 1) if generation else ():
        put_generation(fleet, name, number, "good", ago=86400 * ((generation or 0) - number) + 240)


def put_generation(fleet: Fleet, host: str, number: int, state: str, ago: float, reason: str | None = None) -> None:
    """One generation and its release."""
    commit = None if number == 0 else HEAD if number % 3 == 0 else EARLIER if number % 3 == 1 else OLDER
    release = None if number == 0 else f"{number:x}" + "c0ffee" * 10
    if release and commit:
        fleet.store.add_release(Release(release, host, Backend.DEBIAN, "i" * 64, "l" * 64, commit, moment(ago)))
    fleet.store.put_generation(Generation(host, number, release, commit, None, state, moment(ago), reason=reason))


def fill(config: Config, store: Store | None = None, repo_path: str = "/srv/toto/repos/home.git") -> Fleet:
    """Twenty hosts in all states, a run that goes on, some that failed, pushes with their plans."""
    fleet = Fleet(config, store or Store(config))
    fleet.store.add_repo("home", repo_path, "main")
    _calm_hosts(fleet)
    _troubled_hosts(fleet)
    _runs(fleet)
    fleet.store.add_act("eve", "hold", "mail", "queue migration")
    fleet.store.add_act("ada", "rebuild", "web", "after the certificate was renewed", run="1")
    return fleet


@cache
def _filled() -> Fleet:
    folder = Path(tempfile.mkdtemp(prefix="toto-filled."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fleet = fill(Config(data=folder))
    fleet.store.close()
    return fleet


def copy_into(config: Config) -> Fleet:
    """The busy fleet in a data folder, copied from one that is made once: for tests that are many."""
    made = _filled()
    shutil.copytree(made.config.data, config.data, dirs_exist_ok=True)
    return Fleet(config, Store(config), dict(made.runs), dict(made.pushes))


def _calm_hosts(fleet: Fleet) -> None:
    for place, name in enumerate(CALM):
        tags = ["dns"] if name.startswith("ns") else ["build"] if name.startswith("build") else []
        put_host(fleet, name, 20 + place, tags=tags)


def _troubled_hosts(fleet: Fleet) -> None:
    put_host(fleet, "web", 17, state=HostState.BEHIND.value, tags=["edge"], wanted="w" * 64)
    reason = "post-switch: nginx answers on port 80 with 200"
    put_generation(fleet, "web", 18, "bad", 250, reason)
    held = {"held_by": "eve", "held_why": "queue migration", "state": HostState.HELD.value, "tags": ["edge"]}
    put_host(fleet, "mail", 9, **held, commit=OLDER)
    put_host(fleet, "db", 31, state=HostState.DEPLOYING.value, last_good=30)
    put_host(fleet, "nas", 12, state=HostState.DRIFTED.value, reason="/etc/exports was changed by hand")
    put_host(
        fleet, "attic", 4, state=HostState.UNREACHABLE.value, seen=moment(4 * 86400), reason="no route to 10.0.0.9"
    )
    put_host(fleet, "printer", None, reason="")
    put_host(fleet, "door", 7, state=HostState.NEEDS_REBOOT.value, reason="a new kernel waits for a restart")


def _runs(fleet: Fleet) -> None:
    store = fleet.store
    first = put_push(fleet, "first", OLDER, "Give every host an address", 5 * 86400, state="planned")
    put_push(fleet, "readme", EARLIER, "Say in the README how to reach us", 2 * 86400, state="planned")
    head = put_push(fleet, "head", HEAD, "Serve the new landing page", 250)
    for place, name in enumerate(CALM):
        run = put_run(fleet, name, ago=86400 + 300 * place, push=first.id, commit=OLDER, generation=20 + place)
        fleet.runs.setdefault("good", run.id)
    fleet.runs["old-failure"] = put_run(
        fleet,
        "web",
        RunState.FAILED,
        ago=7000,
        until=StageName.NO_INTERNET,
        reason="no-internet: 10-http.sh: not ok 1 - nginx answers on port 80 with 200",
    ).id
    fleet.runs["error"] = put_run(
        fleet,
        "attic",
        RunState.ERROR,
        ago=5000,
        until=StageName.TEST,
        last=StageState.ERROR,
        reason="test: attic.lan:22: no route to host; see that the machine is up",
    ).id
    fleet.runs["held"] = put_run(
        fleet, "mail", RunState.HELD, ago=2000, until=None, reason="held by eve: queue migration"
    ).id
    rows = []
    for name in ("web", "db"):
        row = PlanRow(name, True, Action.DEPLOY, "curl moves to 7.88.1-10" if name == "db" else "site.conf", "i" * 64)
        rows.append((row, {"repo": "home", "host": name, "commit": HEAD, "cause": "push"}, ()))
    rows += [
        (PlanRow(name, False, Action.NONE, "its identity is the one that runs", "i" * 64), None, ()) for name in CALM
    ]
    store.save_plan(head.id, rows)
    for name in ("web", "db"):
        planned = store.runs(host=name, limit=1)[0]
        store.finish_run(planned.id, 1, RunState.SUPERSEDED, "superseded")
    stages = (*LADDER, *ROLLBACK_STAGES)
    failed = "post-switch: 10-http.sh: not ok 1 - nginx answers on port 80 with 200"
    ended = {"until": StageName.POST_SWITCH, "push": head.id, "generation": 18, "reason": failed}
    back = put_run(fleet, "web", RunState.ROLLED_BACK, ago=240, stages=stages, **ended)
    for name in ROLLBACK_STAGES:
        store.start_stage(back.id, 1, name)
        store.finish_stage(back.id, 1, name, StageState.PASSED, None)
    fleet.runs["rolled-back"] = back.id
    fleet.runs["running"] = put_run(
        fleet, "db", RunState.RUNNING, ago=190, until=StageName.SMOKE, last=StageState.RUNNING, push=head.id
    ).id
    fleet.runs["waiting"] = put_run(
        fleet, "nas", RunState.WAITING, ago=20, cause="rebuild", actor="ada", reason="waits for a builder"
    ).id
