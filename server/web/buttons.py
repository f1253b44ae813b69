"""What people may press. Each button leads to a sentence that says exactly what will happen; a POST does it, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, abort, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from server.core import acts
from server.core.errors import TotoError
from server.core.model import Host, Run
from server.core.states import RunState
from server.web.auth import needs_login
from server.web.services import services

blueprint = Blueprint("buttons", __name__)
LONGEST_REASON = 500


@dataclass(frozen=True)
class Button:
    """An act on a host.

    Attributes:
        title: The page's heading, and the confirming button.
        sentence: What will happen, exactly.
        press: Does it; the answer is the run to follow, or the host.
        reason: Whether a reason is `wanted`, `welcome` or `none`.
        danger: Whether the button is red.
    """

    title: str
    sentence: Callable[[acts.Context, Host], str]
    press: Callable[[acts.Context, Host], Run | Host]
    reason: str = "welcome"
    danger: bool = False


def _why() -> str | None:
    return " ".join(request.form.get("why", "").split())[:LONGEST_REASON] or None


def _ref() -> str | None:
    return request.values.get("ref", "").strip() or None


def _to() -> int | None:
    given = request.values.get("to", "").strip()
    if given and not (given.isascii() and given.isdecimal() and len(given) < 10):
        abort(400, f"{given!r} is no generation's number")
    return int(given) if given else None


def _verify_sentence(ctx: acts.Context, host: Host) -> str:
    return (
        f"Run {host.name}'s smoke and post-switch tests on the machine now, against generation {host.generation}. "
        "Nothing is changed there."
    )


def _hold_sentence(ctx: acts.Context, host: Host) -> str:
    return (
        f"Activate nothing on {host.name} until somebody releases it. "
        "Pushes are still built and rehearsed; what is being deployed now is finished."
    )


def _unhold_sentence(ctx: acts.Context, host: Host) -> str:
    if host.held_by is None:
        return f"{host.name} is not held."
    return (
        f"End the hold of {host.name} (by {host.held_by}: {host.held_why}). "
        "Nothing is deployed by this; the next push or a rebuild is activated again."
    )


BUTTONS = {
    "rebuild": Button(
        "Rebuild",
        lambda ctx, host: acts.rebuild_sentence(ctx, host.name, _ref()),
        lambda ctx, host: acts.rebuild(ctx, host.name, _ref(), why=_why()),
    ),
    "rollback": Button(
        "Roll back",
        lambda ctx, host: acts.rollback_sentence(ctx, host.name, _to()),
        lambda ctx, host: acts.rollback(ctx, host.name, _to(), _why()),
        danger=True,
    ),
    "verify": Button("Verify", _verify_sentence, lambda ctx, host: acts.verify(ctx, host.name), reason="none"),
    "hold": Button("Hold", _hold_sentence, lambda ctx, host: acts.hold(ctx, host.name, _why() or ""), reason="wanted"),
    "unhold": Button("Release", _unhold_sentence, lambda ctx, host: acts.unhold(ctx, host.name, _why())),
}


def context() -> acts.Context:
    """Who acts now."""
    own = services()
    return acts.Context(own.config, own.store, own.queue, g.person)


@blueprint.get("/hosts/<name>/<any(rebuild, rollback, verify, hold, unhold):act>")
@needs_login
def ask(name: str, act: str) -> str:
    """Say what a button will do, and ask."""
    button, ctx = BUTTONS[act], context()
    host = acts.the_host(ctx, name)
    sentence, possible = _say(button, ctx, host)
    return render_template(
        "confirm.html",
        title=f"{button.title} {name}",
        button=f"{button.title} {name}",
        sentence=sentence,
        possible=possible,
        reason=button.reason,
        danger=button.danger,
        back=url_for("pages.host", name=name),
        hidden={key: value for key, value in (("ref", _ref()), ("to", request.args.get("to"))) if value},
        ref=_ref() or "" if act == "rebuild" else None,
    )


def _say(button: Button, ctx: acts.Context, host: Host) -> tuple[str, bool]:
    """The sentence, or why it cannot be done."""
    try:
        return button.sentence(ctx, host), True
    except TotoError as error:
        return str(error), False


@blueprint.post("/hosts/<name>/<any(rebuild, rollback, verify, hold, unhold):act>")
@needs_login
def press(name: str, act: str) -> Response:
    """Do it, and lead to what can be watched."""
    ctx = context()
    return _lead_to(BUTTONS[act].press(ctx, acts.the_host(ctx, name)))


def _lead_to(made: Run | Host) -> Response:
    if isinstance(made, Run):
        return redirect(url_for("pages.run", run_id=made.id), 303)
    return redirect(url_for("pages.host", name=made.name), 303)


@blueprint.get("/runs/<run_id>/<any(cancel, retry):act>")
@needs_login
def ask_run(run_id: str, act: str) -> str:
    """Say what cancelling or retrying a run will do, and ask."""
    run = acts.the_run(context(), run_id)
    sentence = _cancel_sentence(run) if act == "cancel" else _retry_sentence(run)
    possible = not run.state.final if act == "cancel" else run.state in (RunState.FAILED, RunState.ERROR)
    return render_template(
        "confirm.html",
        title=f"{act.capitalize()} run {run.id}",
        button=f"{act.capitalize()} run {run.id}",
        sentence=sentence,
        possible=possible,
        reason="none" if act == "cancel" else "welcome",
        danger=act == "cancel",
        back=url_for("pages.run", run_id=run.id),
        hidden={},
        ref=None,
    )


def _cancel_sentence(run: Run) -> str:
    if run.state.final:
        return f"Run {run.id} has ended: it is {run.state}. There is nothing to cancel."
    if run.state is RunState.WAITING:
        return f"Run {run.id} waits: it ends now as cancelled, and {run.host} is not touched."
    return (
        f"Stop run {run.id} at its next step. If it has begun to change {run.host} by then, it is not stopped: "
        "a switch that has begun is finished or undone, never abandoned."
    )


def _retry_sentence(run: Run) -> str:
    if run.state not in (RunState.FAILED, RunState.ERROR):
        return f"Run {run.id} is {run.state}: only failed runs and errors can be tried again."
    return f"Make a new run that brings {run.host} to commit {run.commit[:7]}, from the first stage on."


@blueprint.post("/runs/<run_id>/<any(cancel, retry):act>")
@needs_login
def press_run(run_id: str, act: str) -> Response:
    """Cancel or retry, and lead to the run."""
    ctx = context()
    return _lead_to(acts.cancel(ctx, run_id) if act == "cancel" else acts.retry(ctx, run_id, why=_why()))
