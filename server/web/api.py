"""The API under `/api/v1`: JSON for programs, server-sent events, logs by byte offset; and the probes beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, g, jsonify, request

from server.core import acts
from server.core.errors import QueueTrouble, StoreTrouble, UsageFault
from server.core.log import read_log
from server.core.model import Host, Run
from server.core.present import check_json, generation_json, host_json, push_json, run_json
from server.core.states import HostState, RunState
from server.web.auth import check_csrf, may_act
from server.web.limits import VIEWERS
from server.web.live import stream
from server.web.pages import stage_name
from server.web.services import services

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
health = Blueprint("health", __name__)

MOST = 500
"""Entries of one answer."""
LOG_PIECE = 1 << 20
LOG_PIECE_MOST = 8 << 20
TEXT = "text/plain; charset=utf-8"


def _number(name: str, default: int, most: int) -> int:
    """A whole number of the query; 400 where it is none."""
    given = request.args.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) < 16):
        abort(400, f"{name} wants a whole number, not {given[:40]!r}")
    return min(int(given), most)


def _host(name: str) -> Host:
    return services().store.host(name) or abort(404, f"toto knows no host {name}")


def _run(run_id: str) -> Run:
    return services().store.run(run_id) or abort(404, f"there is no run {run_id}")


@blueprint.get("/hosts")
def hosts() -> Response:
    """All hosts."""
    return jsonify([host_json(host) for host in services().store.hosts()])


@blueprint.get("/hosts/<name>")
def host(name: str) -> Response:
    """One host."""
    return jsonify(host_json(_host(name)))


@blueprint.get("/hosts/<name>/generations")
def generations(name: str) -> Response:
    """A host's generations, newest first."""
    return jsonify([generation_json(each) for each in services().store.generations(_host(name).name)])


@blueprint.get("/pushes")
def pushes() -> Response:
    """Pushes, newest first; `before` is the id of the last one seen."""
    found = services().store.pushes(_number("limit", 50, MOST), request.args.get("before"), request.args.get("repo"))
    return jsonify([push_json(push) for push in found])


@blueprint.get("/pushes/<push_id>")
def push(push_id: str) -> Response:
    """A push with its plan and its runs."""
    store = services().store
    found = store.push(push_id) or abort(404, f"there is no push {push_id} yet")
    return jsonify(push_json(found, store.plan(push_id), store.runs_of([push_id])[push_id]))


@blueprint.get("/runs")
def runs() -> Response:
    """Runs, newest first, filtered; `before` is the id of the last one seen."""
    known = {state.value for state in RunState}
    if (state := request.args.get("state")) and state not in known:
        abort(400, f"there is no state {state[:40]!r}; known: {', '.join(sorted(known))}")
    filters = {key: request.args.get(key) or None for key in ("host", "state", "push", "text", "before")}
    if filters["before"] is not None:
        filters["before"] = str(_number("before", 0, 2**62))
    found = services().store.runs(limit=_number("limit", 50, MOST), **filters)
    return jsonify([run_json(run) for run in found])


@blueprint.get("/runs/<run_id>")
def run(run_id: str) -> Response:
    """A run with its stages."""
    found = _run(run_id)
    return jsonify(run_json(found, services().store.stages(found.id)))


@blueprint.get("/runs/<run_id>/checks")
def checks(run_id: str) -> Response:
    """A run's checks in the order they came; `stage` and `failed=1` choose among them."""
    found = _run(run_id)
    stage = stage_name(request.args["stage"]) if "stage" in request.args else None
    rows = services().store.checks(found.id, stage, failed=request.args.get("failed") == "1")
    return jsonify([check_json(row) for row in rows])


@blueprint.get("/runs/<run_id>/stages/<stage>/log")
def log(run_id: str, stage: str) -> Response:
    """A log from a byte offset of its uncompressed text. `Toto-Log-Length` says how long it is now."""
    found, name = _run(run_id), stage_name(stage)
    offset, limit = _number("offset", 0, 2**62), _number("limit", LOG_PIECE, LOG_PIECE_MOST)
    piece = read_log(services().config, found.id, name, offset, limit)
    headers = {"Toto-Log-Offset": str(piece.offset), "Toto-Log-Length": str(piece.length)}
    return Response(piece.data, content_type=TEXT, headers=headers)


@blueprint.get("/runs/<run_id>/events")
def run_events(run_id: str) -> Response:
    """What happens to a run, until it has ended: `run`, `check`, `log`, `end`. Begins with the whole state, so a client
    that comes back with a `Last-Event-ID` has missed nothing.
    """
    return _events(_run(run_id).id)


@blueprint.get("/events")
def events() -> Response:
    """What changes anywhere: `change` events that name a run, a host or a push."""
    return _events(None)


def _events(run_id: str | None) -> Response:
    hub = services().hub
    if hub.watching >= VIEWERS:
        answer = jsonify({"title": "Too many live views", "status": 503, "detail": "Try again in a moment."})
        answer.status_code, answer.content_type = 503, "application/problem+json"
        answer.headers["Retry-After"] = "10"
        return answer
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream(hub, run_id), content_type="text/event-stream; charset=utf-8", headers=headers)


@blueprint.get("/queue")
def queue() -> Response:
    """How many jobs wait in each queue, and the runs that have not ended."""
    found = [run_json(run) for run in services().store.open_runs()]
    return jsonify({"lengths": services().queue.lengths(), "runs": found})


@blueprint.get("/workers")
def workers() -> Response:
    """The workers that Redis knows."""
    return jsonify(services().queue.workers())


def _said(name: str) -> Any:
    """A value of the request's JSON object, or of its form."""
    if request.is_json:
        body = request.get_json()
        if not isinstance(body, dict):
            raise UsageFault("the body is no JSON object", mend='send {"why": "…"} or nothing')
        return body.get(name)
    return request.form.get(name)


def _text(name: str) -> str | None:
    given = _said(name)
    if given is not None and not isinstance(given, str):
        raise UsageFault(f"{name} wants text")
    return given.strip() or None if given else None


def _generation() -> int | None:
    given = _said("generation")
    if given in (None, ""):
        return None
    if isinstance(given, bool) or not str(given).isascii() or not str(given).isdecimal() or len(str(given)) > 9:
        raise UsageFault("generation wants a whole number")
    return int(given)


def _guard() -> acts.Context:
    """Who acts: logged in, allowed to, and not sent by another site."""
    if g.person is None:
        abort(401, "log in first: acts want a person")
    check_csrf()
    if not may_act():
        abort(403, f"{g.person} may look, but not act")
    own = services()
    return acts.Context(own.config, own.store, own.queue, g.person)


HOST_ACTS: dict[str, Callable[[acts.Context, str], Run | Host]] = {
    "rebuild": lambda ctx, name: acts.rebuild(ctx, name, _text("ref"), why=_text("why")),
    "rollback": lambda ctx, name: acts.rollback(ctx, name, _generation(), _text("why")),
    "verify": acts.verify,
    "hold": lambda ctx, name: acts.hold(ctx, name, _text("why") or ""),
    "unhold": lambda ctx, name: acts.unhold(ctx, name, _text("why")),
}


@blueprint.post("/hosts/<name>/<any(rebuild, rollback, verify, hold, unhold):act>")
def act_on_host(name: str, act: str) -> tuple[Response, int]:
    """Rebuild, roll back, verify, hold, release: answers with the run (202) or the host (200)."""
    ctx = _guard()
    made = HOST_ACTS[act](ctx, _host(name).name)
    return (jsonify(run_json(made)), 202) if isinstance(made, Run) else (jsonify(host_json(made)), 200)


@blueprint.post("/runs/<run_id>/<any(cancel, retry):act>")
def act_on_run(run_id: str, act: str) -> tuple[Response, int]:
    """Cancel or retry a run: answers with the run."""
    ctx = _guard()
    found = _run(run_id)
    made = acts.cancel(ctx, found.id) if act == "cancel" else acts.retry(ctx, found.id, why=_text("why"))
    return jsonify(run_json(made)), 202


@blueprint.route("/<path:rest>")
def nothing(rest: str) -> Response:
    """Addresses that are none, as problems."""
    abort(404, f"/api/v1/{rest} is no address of this API")


@health.get("/healthz")
def healthz() -> Response:
    """Whether this process answers."""
    return Response("ok\n", content_type=TEXT)


@health.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Whether the database and Redis answer."""
    try:
        services().store.repos()
        database = True
    except StoreTrouble:
        database = False
    found = {"database": database, "redis": services().queue.ping()}
    return jsonify(found), 200 if all(found.values()) else 503


@health.get("/metrics")
def metrics() -> Response:
    """Counts for Prometheus, in its text format 0.0.4."""
    store = services().store
    states = [host.state for host in store.hosts()]
    lines = ["# HELP toto_hosts Hosts by state.", "# TYPE toto_hosts gauge"]
    lines += [f'toto_hosts{{state="{state}"}} {states.count(state)}' for state in HostState]
    running = [run.state for run in store.open_runs()]
    lines += ["# HELP toto_open_runs Runs that have not ended, by state.", "# TYPE toto_open_runs gauge"]
    lines += [f'toto_open_runs{{state="{state}"}} {running.count(state)}' for state in RunState if not state.final]
    try:
        lengths = services().queue.lengths()
        lines += ["# HELP toto_queue_jobs Jobs that wait, by queue.", "# TYPE toto_queue_jobs gauge"]
        lines += [f'toto_queue_jobs{{queue="{name}"}} {length}' for name, length in lengths.items()]
    except QueueTrouble:
        pass
    lines += ["# HELP toto_redis_up Whether Redis answers.", "# TYPE toto_redis_up gauge"]
    lines += [f"toto_redis_up {int(services().queue.ping())}"]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")
