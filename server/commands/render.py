"""How results look in a terminal: calm tables and one sentence each; colour is kept for state."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.core.model import Generation, Host, PlanRow, Push, Run, Stage
from server.core.states import RunState, StageState

COLOURS = {
    "good": "green", "current": "green", "passed": "green", "rehearsed": "green", "planned": "green",
    "failed": "red", "rolled-back": "red", "rollback-failed": "bold red", "error": "magenta", "unknown": "magenta",
    "bad": "red", "rejected": "red", "drifted": "red", "unreachable": "magenta",
    "running": "blue", "deploying": "blue", "waiting": "cyan", "received": "cyan", "pending": "blue",
    "held": "yellow", "behind": "yellow", "needs-reboot": "yellow",
}  # fmt: skip
MARKS = {
    StageState.PASSED: "✓", StageState.FAILED: "✗", StageState.ERROR: "!", StageState.RUNNING: "▸",
    StageState.SKIPPED: "–", StageState.CANCELLED: "–", StageState.UNKNOWN: "?", StageState.WAITING: "·",
}  # fmt: skip

PIPE_COLUMNS = 200
"""Width of what is no terminal: a table in a pipe or a log is read by a program, or in a wide window."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def print_json(value: Any) -> None:
    """JSON, readable on a terminal, on one line in a pipe."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def coloured(state: str) -> str:
    """A state in its colour."""
    colour = COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state


def ago(moment: datetime | None) -> str:
    """How long ago, in the largest unit that says it."""
    if moment is None:
        return "–"
    seconds = max(0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def took(began: datetime | None, ended: datetime | None) -> str:
    """How long something took."""
    if began is None:
        return ""
    seconds = ((ended or datetime.now(UTC)) - began).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def table(*headings: str) -> Table:
    """A table without lines."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


def _text(value: object) -> str:
    return escape("–" if value is None else str(value))


def show_hosts(hosts: Sequence[Host]) -> None:
    """The fleet."""
    if not hosts:
        console.print("no host yet: `toto repo add NAME`, then push a fleet to it")
        return
    made = table("host", "state", "runs", "commit", "last good", "backend", "why")
    for host in hosts:
        why = f"held by {host.held_by}: {host.held_why}" if host.held_by else host.reason or ""
        made.add_row(
            _text(host.name), coloured(host.state.value), _text(host.generation), _text((host.commit or "–")[:7]),
            _text(host.last_good), host.backend.value, escape(why),
        )  # fmt: skip
    console.print(made)


def show_generations(generations: Sequence[Generation]) -> None:
    """A host's generations."""
    made = table("generation", "state", "commit", "release", "run", "activated", "why")
    for each in generations:
        made.add_row(
            str(each.number), coloured(each.state), _text((each.commit or "–")[:7]), _text((each.release or "–")[:12]),
            _text(each.run), ago(each.activated), escape(each.reason or ""),
        )  # fmt: skip
    console.print(made)


def show_runs(runs: Sequence[Run]) -> None:
    """Runs, newest first."""
    if not runs:
        console.print("no runs")
        return
    made = table("run", "host", "state", "commit", "cause", "created", "took", "why")
    for run in runs:
        spent = took(run.started, run.finished) if run.started else ""
        made.add_row(
            run.id, _text(run.host), coloured(run.state.value), run.commit[:7], run.cause.value, ago(run.created),
            spent, escape(_first_line(run.reason)),
        )  # fmt: skip
    console.print(made)


def show_run(run: Run, stages: Sequence[Stage]) -> None:
    """One run: its stages as a ladder."""
    head = f"run {run.id}: {escape(run.host)} at {run.commit[:7]} ({run.cause.value}) {coloured(run.state.value)}"
    console.print(head + (f": {escape(run.reason)}" if run.reason else ""))
    made = table("", "stage", "took", "checks", "")
    for stage in stages:
        made.add_row(*stage_cells(stage))
    console.print(made)


def stage_cells(stage: Stage) -> tuple[str, str, str, str, str]:
    """A stage as cells of a table."""
    colour = COLOURS.get(stage.state.value, "dim")
    counts = stage.counts
    told = ", ".join(
        f"{number} {name}"
        for number, name in (
            (counts.passed, "ok"),
            (counts.failed, "not ok"),
            (counts.skipped, "skipped"),
            (counts.todo, "todo"),
        )
        if number
    )
    mark = f"[{colour}]{MARKS[stage.state]}[/]"
    return mark, stage.name.value, took(stage.started, stage.finished), told, escape(_first_line(stage.reason))


def show_pushes(pushes: Sequence[Push]) -> None:
    """Pushes, newest first."""
    if not pushes:
        console.print("no pushes yet")
        return
    made = table("push", "repo", "ref", "commit", "who", "received", "state", "")
    for push in pushes:
        made.add_row(
            push.id, _text(push.repo), _text(push.ref.removeprefix("refs/heads/")), push.new[:7], _text(push.pusher),
            ago(push.received), coloured(push.state), escape(_first_line(push.reason or push.subject)),
        )  # fmt: skip
    console.print(made)


def show_plan(rows: Sequence[PlanRow]) -> None:
    """A plan: what would be done with each host, and why."""
    made = table("host", "changed", "action", "run", "why")
    for row in rows:
        colour = "dim" if row.action.value == "none" else "bold"
        made.add_row(
            _text(row.host), "yes" if row.changed else "no", f"[{colour}]{row.action.value}[/]", row.run or "–",
            escape(row.reason),
        )  # fmt: skip
    console.print(made)


def outcome(run: Run) -> str:
    """How a run ended, as one line."""
    reason = f": {escape(run.reason)}" if run.reason else ""
    spent = took(run.started, run.finished) if run.started else "0 s"
    end = "" if run.state is RunState.WAITING else f" after {spent}"
    return f"{escape(run.host)}: {coloured(run.state.value)}{end}{reason} (run {run.id})"


def _first_line(text: str | None) -> str:
    return (text or "").split("\n", 1)[0]
