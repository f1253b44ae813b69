"""How values look in words: times, durations, states and their tones, and the sentence that says why a run ended so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from server.core.model import CheckRow, Host, Run, Stage
from server.core.present import time_json
from server.core.states import DEPLOY_STAGES, Action, Cause, RunState, StageName, StageState

TONES = {
    **dict.fromkeys(("good", "current", "passed", "rehearsed", "no-op", "planned"), "good"),
    **dict.fromkeys(("failed", "rolled-back", "rollback-failed", "error", "unreachable", "drifted", "bad"), "bad"),
    **dict.fromkeys(("held", "behind", "needs-reboot", "rejected", "unknown"), "warn"),
    **dict.fromkeys(("running", "deploying", "pending"), "busy"),
}
"""A state's colour; what is missing is idle. Colour is kept for state, and never says anything alone."""

SIGNS = {"passed": "✓", "failed": "✗", "error": "!", "running": "●", "skipped": "–", "cancelled": "–", "unknown": "?"}

SPLIT = ((86400.0, "d", 3600.0, "h"), (3600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))


def tone(state: object) -> str:
    """The CSS class of a state."""
    return TONES.get(str(state), "idle")


def word(state: object) -> str:
    """A state as people say it."""
    return str(state) if str(state) in ("no-op",) else str(state).replace("-", " ")


def sign(state: object) -> str:
    """A stage's state as one character, for those who see no colour."""
    return SIGNS.get(str(state), "·")


def span(seconds: float | None) -> str:
    """A duration: `5.1 s`, `58 s`, `1 min 22 s`, `2 h 3 min`."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, less, lesser in SPLIT:
        if whole >= size:
            rest = int(whole % size // less)
            return f"{int(whole // size)} {unit}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"


def ago(time: datetime | None, now: datetime | None = None) -> str:
    """A moment from now: `just now`, `20 s ago`, `4 min ago`, `2 h ago`, `3 d ago`, and then the date."""
    if time is None:
        return ""
    passed = ((now or datetime.now(UTC)) - time).total_seconds()
    if passed < 5:
        return "just now"
    for size, unit in ((60, "s"), (3600, "min"), (86400, "h"), (30 * 86400, "d")):
        if passed < size:
            least = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
            return f"{int(passed // least)} {unit} ago"
    return f"{time:%Y-%m-%d}"


def exact(time: datetime | None) -> str:
    """A moment for the hover: date, time and zone."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time else ""


def took(value: Run | Stage) -> float | None:
    """Seconds from start to end, or to now."""
    if value.started is None:
        return None
    return ((value.finished or datetime.now(UTC)) - value.started).total_seconds()


def short(name: str | None) -> str:
    """A commit or digest, as short as people write it."""
    return (name or "")[:7]


def branch(ref: str | None) -> str:
    """A ref as people say it."""
    return (ref or "").removeprefix("refs/heads/").removeprefix("refs/tags/")


def stopped(text: str) -> str:
    """A reason with a full stop. Its first letter stays: it may be a host's or a file's name."""
    said = text.strip()
    return said if not said or said.endswith((".", "!", "?")) else f"{said}."


def ticks(text: str) -> Markup:
    """Text in which `…` is set as code; everything is escaped, whatever it says."""
    parts = re.split(r"`([^`\n]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def plural(count: int, one: str, many: str = "") -> str:
    """`1 check`, `3 checks`; thousands are set apart."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def checks_of(stage: Stage) -> int:
    """How many top-level checks a stage has seen."""
    counts = stage.counts
    return counts.passed + counts.failed + counts.skipped + counts.todo


CAUSES = {
    Cause.PUSH: "pushed",
    Cause.REBUILD: "rebuild",
    Cause.ROLLBACK: "rollback",
    Cause.VERIFY: "verification",
    Cause.RETRY: "retry",
    Cause.UPDATE: "update",
    Cause.SCHEDULE: "scheduled",
}


def cause(run: Run, pusher: str | None = None) -> str:
    """Why a run exists, and by whom."""
    who = run.actor or pusher
    return f"{CAUSES[run.cause]} by {who}" if who else CAUSES[run.cause]


@dataclass(frozen=True)
class Why:
    """The sentence above everything else.

    Attributes:
        tone: Its colour.
        lead: What happened.
        more: Where, and what it means; may have several lines.
    """

    tone: str
    lead: str
    more: str = ""


def stopped_at(stages: Sequence[Stage]) -> Stage | None:
    """The stage that decided a bad end: the first that is not well."""
    bad = (StageState.FAILED, StageState.ERROR, StageState.UNKNOWN)
    return next((stage for stage in stages if stage.state in bad), None)


def touched(stages: Sequence[Stage]) -> bool:
    """Whether a run began to change its target."""
    changing = (StageName.TEST, StageName.SWITCH, StageName.ROLLBACK)
    return any(stage.name in changing and stage.started is not None for stage in stages)


def why(run: Run, stages: Sequence[Stage], failed: Sequence[CheckRow], host: Host | None) -> Why | None:
    """Why a run ended so, or what it waits for; None where nothing needs saying yet."""
    reason = (run.reason or "").strip()
    match run.state:
        case RunState.WAITING:
            said = stopped(reason or "waits for a free worker")
            return Why("idle", _capital(said)) if said.startswith("waits") else Why("idle", "Waiting.", said)
        case RunState.RUNNING:
            return _cancelling(run)
        case RunState.GOOD:
            return Why("good", _good(run, stages), "" if reason == (run.why or "").strip() else reason)
        case RunState.UNKNOWN:
            lead = f"The outcome on {run.host} is not known yet."
            return Why("warn", lead, f"{reason} toto asks the target for its own record until it answers.".strip())
        case RunState.NO_OP | RunState.REHEARSED | RunState.SUPERSEDED | RunState.CANCELLED:
            said = stopped(reason)
            if said.startswith(word(run.state)):
                return Why(tone(run.state), _capital(said))
            return Why(tone(run.state), f"{_capital(word(run.state))}.", said)
        case RunState.HELD:
            return Why("warn", f"Nothing was activated on {run.host}.", reason)
        case RunState.ROLLBACK_FAILED:
            text = f"The rollback of {run.host} did not prove good: look at the machine itself."
            return Why("bad", text, reason)
        case _:
            first = _first_failed(stages, failed)
            lead = _verdict(run, stopped_at(stages), first)
            rest = _rest(reason, stopped_at(stages), first)
            return Why(tone(run.state), lead, " ".join(filter(None, (rest, _after(run, stages, host)))))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cancelling(run: Run) -> Why | None:
    if not run.cancel:
        return None
    return Why("warn", "Asked to stop.", "It ends at its next step, unless the target has begun to change.")


def _good(run: Run, stages: Sequence[Stage]) -> str:
    count = sum(stage.counts.passed for stage in stages)
    proof = f", {plural(count, 'check')} passed" if count else ""
    if run.cause is Cause.VERIFY or run.action is Action.TEST:
        return f"{run.host} is as it should be{proof}."
    if run.cause is Cause.ROLLBACK:
        return f"{run.host} is back on generation {run.target_generation}{proof}."
    return f"{run.host} runs generation {run.generation}{proof}." if run.generation is not None else f"Good{proof}."


def _first_failed(stages: Sequence[Stage], failed: Sequence[CheckRow]) -> CheckRow | None:
    """The first check that says no in the stage that decided."""
    stage = stopped_at(stages)
    return next((check for check in failed if stage and check.stage is stage.name and check.depth == 0), None)


def _verdict(run: Run, stage: Stage | None, first: CheckRow | None) -> str:
    """`1 of 7 checks in no-internet says no: nginx answers on port 80.`, or which stage broke."""
    if stage is None:
        return f"{word(run.state).capitalize()}."
    if run.state is RunState.ERROR:
        return f"toto could not find out in {stage.name}."
    if first is None:
        return f"Failed in {stage.name}."
    verb = "says" if stage.counts.failed == 1 else "say"
    count = f"{stage.counts.failed:,} of {plural(checks_of(stage), 'check')}"
    return f"{count} in {stage.name} {verb} no: {first.description or f'point {first.number}'}."


def _rest(reason: str, stage: Stage | None, first: CheckRow | None) -> str:
    """The run's own reason, without what the lead has said already."""
    if not reason or (first is not None and first.description and first.description in reason):
        return ""
    if stage is not None:
        reason = reason.removeprefix(f"{stage.name}: ")
    return stopped(reason)


def _after(run: Run, stages: Sequence[Stage], host: Host | None) -> str:
    """Where that leaves the target."""
    if run.state is RunState.ROLLED_BACK:
        return f"{run.host} was returned to its last good generation, and that was checked."
    deploys = any(stage.name in DEPLOY_STAGES for stage in stages)
    if touched(stages) or not deploys or run.action is not Action.DEPLOY:
        return ""
    still = f": it still runs generation {host.generation}" if host and host.generation is not None else ""
    return f"{run.host} was not touched{still}."


def headline(run: Run, stages: Sequence[Stage]) -> str:
    """A run's state with its place: `failed in no-internet`, `smoke`, `waiting`."""
    if run.state is RunState.RUNNING:
        running = next((stage.name.value for stage in stages if stage.state is StageState.RUNNING), None)
        return running or "running"
    stage = stopped_at(stages)
    if run.state in (RunState.FAILED, RunState.ERROR) and stage is not None:
        return f"{word(run.state)} in {stage.name}"
    return word(run.state)


FILTERS: dict[str, Any] = {
    "ago": ago,
    "branch": branch,
    "exact": exact,
    "iso": time_json,
    "plural": plural,
    "short": short,
    "sign": sign,
    "span": span,
    "ticks": ticks,
    "tone": tone,
    "took": took,
    "word": word,
}
