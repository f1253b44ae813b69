"""The pages for reading. Each works without JavaScript; with it, the same page is fetched again when it changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, render_template, request

from server.core.errors import QueueTrouble
from server.core.log import log_length, read_log
from server.core.model import Host, Run, Stage
from server.core.states import HostState, RunState, StageName, StageState
from server.web import tree, views, words
from server.web.services import services

blueprint = Blueprint("pages", __name__)

PAGE = 50
"""Lines of a history page."""
RECENT = 15
"""Runs and acts on a host's page."""
TAIL = 64 * 1024
"""Bytes of a log's end that a page shows by itself; the script fetches the rest."""
PIECE = 1 << 20
PUSH_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{7,39}")
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
RETRIABLE = (RunState.FAILED, RunState.ERROR)


@blueprint.get("/")
def fleet() -> str:
    """Every host at a glance."""
    store = services().store
    text, state = request.args.get("q", ""), request.args.get("state", "")
    return render_template("fleet.html", fleet=views.fleet(store, text, state), text=text, chosen=state)


@blueprint.get("/runs")
def runs() -> str:
    """The history of runs, newest first."""
    store = services().store
    host, state, text = (request.args.get(key) or None for key in ("host", "state", "text"))
    found = store.runs(host=host, state=state, text=text, limit=PAGE + 1, before=request.args.get("before"))
    return render_template(
        "runs.html",
        runs=views.run_views(store, found[:PAGE]),
        more=len(found) > PAGE,
        hosts=[each.name for each in store.hosts()],
        states=[each.value for each in RunState],
        chosen={"host": host or "", "state": state or "", "text": text or ""},
        first=request.args.get("before") is None,
    )


@blueprint.get("/runs/<run_id>")
def run(run_id: str) -> str:
    """One run: stages, checks, log, and why it ended so."""
    store = services().store
    found = store.run(run_id) or abort(404, f"There is no run {run_id}.")
    (view,) = views.run_views(store, [found])
    stage = _chosen(found, view.stages, request.args.get("stage"))
    host = store.host(found.host)
    return render_template(
        "run.html",
        view=view,
        run=found,
        host=host,
        why=words.why(found, view.stages, store.checks(found.id, failed=True), host),
        stage=stage,
        files=tree.files(*store.checks_shown(found.id, stage.name, tree.MOST)) if stage else [],
        log=_tail(found.id, stage.name) if stage else None,
        retriable=found.state in RETRIABLE,
        pinned=bool(request.args.get("stage")),
    )


def _chosen(run: Run, stages: tuple[Stage, ...], wanted: str | None) -> Stage | None:
    """The stage that the page opens: the one asked for, that runs, that failed, or the last that ran."""
    by_name = {stage.name.value: stage for stage in stages}
    if wanted in by_name:
        return by_name[wanted]
    began = [stage for stage in stages if stage.started is not None]
    running = [stage for stage in began if stage.state is StageState.RUNNING]
    failed = None if run.state is RunState.GOOD else words.stopped_at(stages)
    return next(iter(running), failed or next(reversed(began), next(iter(stages), None)))


def _tail(run_id: str, stage: StageName) -> dict[str, Any]:
    """The end of a log, for those who read without JavaScript."""
    config = services().config
    length = log_length(config, run_id, stage)
    offset = max(0, length - TAIL)
    text = read_log(config, run_id, stage, offset, TAIL).data.decode(errors="replace")
    if offset and "\n" in text:
        text = text.split("\n", 1)[1]
    return {"text": ANSI.sub("", text), "length": length, "cut": offset > 0}


@blueprint.get("/runs/<run_id>/logs/<stage>")
def whole_log(run_id: str, stage: str) -> Response:
    """A stage's whole log as text."""
    found = services().store.run(run_id) or abort(404, f"There is no run {run_id}.")
    name = stage_name(stage)
    config = services().config

    def pieces() -> Iterator[bytes]:
        offset = 0
        while piece := read_log(config, found.id, name, offset, PIECE).data:
            offset += len(piece)
            yield piece

    headers = {"Content-Disposition": f'inline; filename="run-{found.id}-{name.value}.log"'}
    return Response(pieces(), content_type="text/plain; charset=utf-8", headers=headers)


def stage_name(text: str) -> StageName:
    """A stage by its name; 404 where there is none."""
    try:
        return StageName(text)
    except ValueError:
        abort(404, f"There is no stage {text}.")


@blueprint.get("/hosts/<name>")
def host(name: str) -> str:
    """One host: what runs there, its generations, its runs, and what people did."""
    store = services().store
    found = store.host(name) or abort(404, f"toto knows no host {name}. A push of fleet.toml enters it.")
    recent = views.run_views(store, store.runs(host=name, limit=RECENT))
    return render_template(
        "host.html",
        host=found,
        view=views.HostView(found, recent[0] if recent else None),
        subject=store.subjects([found.commit]).get(found.commit or "", ""),
        why=host_why(found, recent[0] if recent else None),
        generations=views.generation_views(store, found),
        runs=recent,
        acts=store.acts(RECENT, subject=name),
    )


def host_why(host: Host, last: views.RunView | None) -> words.Why | None:
    """The sentence above a host's page, where it is not simply well."""
    reason = host.reason or ""
    if not reason and last is not None and last.run.state in views.BAD_ENDS:
        reason = words.stopped(f"Run {last.run.id}: {last.headline}: {last.run.reason or 'no reason was given'}")
    match host.state:
        case HostState.CURRENT | HostState.DEPLOYING:
            return None
        case HostState.HELD:
            lead = f"Held by {host.held_by}: {host.held_why}."
            return words.Why("warn", lead, "Pushes are built and rehearsed; nothing is activated until it is released.")
        case HostState.NEW:
            return words.Why("idle", "Nothing has been deployed here yet.", reason)
        case HostState.BEHIND:
            return words.Why("warn", "It does not run what its branch asks for.", reason)
        case HostState.UNKNOWN:
            text = "An activation began here and its outcome is not known."
            return words.Why("bad", text, reason or "The next deploy reads the target's own record first.")
        case _:
            return words.Why(words.tone(host.state), f"{words.word(host.state).capitalize()}.", reason)


@blueprint.get("/pushes")
def pushes() -> str:
    """The history of pushes, newest first."""
    store = services().store
    found = store.pushes(limit=PAGE + 1, before=request.args.get("before"))
    shown = views.push_views(store, found[:PAGE])
    return render_template(
        "pushes.html", pushes=shown, more=len(found) > PAGE, first="before" not in request.args, repos=store.repos()
    )


@blueprint.get("/pushes/<push_id>")
def push(push_id: str) -> str | tuple[str, int]:
    """One push: who, what, the plan with its reasons, the runs it caused."""
    store = services().store
    found = store.push(push_id)
    if found is None:
        if not PUSH_ID.fullmatch(push_id):
            abort(404, "That is no push's address.")
        return render_template("push_waiting.html", push_id=push_id), 202
    (view,) = views.push_views(store, [found])
    return render_template("push.html", view=view, push=found, repo=store.repo(found.repo))


def run_of(job: str) -> str:
    """The run that a job carries (`server.core.queue` names jobs `build-RUN-ATTEMPT`); empty where it carries none."""
    parts = job.split("-")
    return parts[1] if len(parts) == 3 and parts[0] in ("build", "deploy") and parts[1].isdecimal() else ""


@blueprint.get("/workers")
def workers() -> str:
    """Who works on what, and what waits."""
    trouble, lengths, found = "", {}, []
    try:
        lengths, found = services().queue.lengths(), services().queue.workers()
    except QueueTrouble as error:
        trouble = str(error)
    store = services().store
    for worker in found:
        worker["run"] = run_of(worker["job"])
    waiting = views.run_views(store, store.open_runs())
    return render_template("workers.html", lengths=lengths, workers=found, trouble=trouble, waiting=waiting)
