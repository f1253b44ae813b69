"""Following a push or a run to its end: a live ladder on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from hooks import spool
from server.commands import render
from server.core import present
from server.core.errors import Refused, TotoError, UsageFault
from server.core.model import PlanRow, Push, Run, Stage
from server.core.queue import Queue
from server.core.states import RunState, StageName, StageState, worst_exit_code
from server.core.store import Store

LOOK_SECONDS = 0.5
UNHEARD_SECONDS = 3.0
"""How long a push is waited for of which neither the database nor the spool tells."""


def follow_runs(store: Store, run_ids: Sequence[str], *, as_json: bool = False, several: bool = False) -> int:
    """Show runs until all have ended; returns the exit code of the worst.

    Raises:
        Interrupted: Ctrl-C: the runs go on.
    """
    with _going_on(f"`toto follow {run_ids[0]}`" if len(run_ids) == 1 else "`toto runs`"):
        if render.console.is_terminal and not as_json:
            _live(store, run_ids)
        else:
            _lines(store, run_ids, quiet=as_json)
    ended = _read(store, run_ids)
    if as_json:
        said = [present.run_json(run, store.stages(run.id)) for run in ended]
        render.print_json(said if several else said[0])
    else:
        for run in ended:
            render.console.print(render.outcome(run))
    return worst_exit_code([run.state for run in ended])


@contextlib.contextmanager
def _going_on(again: str) -> Iterator[None]:
    """Ctrl-C ends the following alone."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("no longer followed; it goes on all the same", mend=f"{again} looks again") from None


class Interrupted(TotoError):
    """Somebody pressed Ctrl-C."""

    exit_code = 130


def follow_push(store: Store, push_id: str, *, as_json: bool = False) -> int:
    """Show a push's plan and its runs until all have ended.

    Raises:
        UsageFault: toto never heard of such a push.
        Refused: It could not be planned.
        Interrupted: Ctrl-C: the runs go on.
    """
    with _going_on(f"`toto follow {push_id}`"):
        push = _planned(store, push_id, quiet=as_json)
    if push.state == "error":
        raise Refused(push.reason or "the push could not be planned", where=f"push {push_id}")
    rows = store.plan(push.id)
    ids = [row.run for row in rows if row.run is not None]
    if as_json:
        with _going_on(f"`toto follow {push_id}`"):
            _lines(store, ids, quiet=True)
        runs = store.runs(push=push.id, limit=1000)
        render.print_json(present.push_json(push, rows, runs))
        return worst_exit_code([run.state for run in runs])
    if push.reason:
        render.console.print(push.reason, markup=False)
    render.show_plan(rows)
    return follow_runs(store, ids) if ids else _nothing(rows)


def _nothing(rows: Sequence[PlanRow]) -> int:
    if rows:
        render.console.print("nothing to do")
    return 0


def _planned(store: Store, push_id: str, *, quiet: bool) -> Push:
    """The push, once it has been planned; it may not even have been received yet.

    Raises:
        UsageFault: Nobody received it, and no note in the spool tells of it.
    """
    began, told = time.monotonic(), False
    while True:
        push = store.push(push_id)
        if push is not None and push.state != "received":
            return push
        if push is None and not _noted(store, push_id) and time.monotonic() - began > UNHEARD_SECONDS:
            raise UsageFault(f"there is no push {push_id}", mend="`toto pushes` lists them")
        if not told and not quiet and (push is not None or _noted(store, push_id)):
            told = True
            render.console.print(f"push {push_id} waits for its plan", style="dim")
            if not Queue(store.config).ping():
                render.console.print("toto is not running: it is planned when it is back (`toto up`)", style="yellow")
        time.sleep(LOOK_SECONDS)


def _noted(store: Store, push_id: str) -> bool:
    """Whether a hook's note of this push waits to be received."""
    return any(path.stem.endswith(push_id) for path in spool.waiting(store.config))


def _read(store: Store, run_ids: Sequence[str]) -> list[Run]:
    return [run for run in (store.run(run_id) for run_id in run_ids) if run is not None]


def _lines(store: Store, run_ids: Sequence[str], *, quiet: bool) -> None:
    """A line for each change of a stage or a run."""
    told: dict[tuple[str, str], str] = {}
    while True:
        found = _read(store, run_ids)
        for run in found:
            if not quiet:
                _changes(store, run, told)
        if all(run.state.final for run in found):
            return
        time.sleep(LOOK_SECONDS)


def _changes(store: Store, run: Run, told: dict[tuple[str, str], str]) -> None:
    for stage in store.stages(run.id):
        key = (run.id, stage.name.value)
        passed_over = stage.state is StageState.SKIPPED and not stage.reason
        if stage.state.final and not passed_over and told.get(key) != stage.state:
            told[key] = stage.state
            _, name, spent, counts, reason = render.stage_cells(stage)
            said = "  ".join(part for part in (spent, counts, reason) if part)
            render.console.print(f"{run.host:<12} {name:<14} {render.coloured(stage.state.value):<8} {said}")
    if run.state is RunState.WAITING and run.reason and told.get((run.id, "")) != run.reason:
        told[(run.id, "")] = run.reason
        render.console.print(f"{run.host:<12} {run.reason}", style="dim", markup=False)


def _live(store: Store, run_ids: Sequence[str]) -> None:
    """A ladder for each run, redrawn in place."""
    spinner = Spinner("dots")
    with Live(console=render.console, refresh_per_second=8, transient=True) as live:
        while True:
            found = _read(store, run_ids)
            live.update(Group(*(_ladder(run, store.stages(run.id), spinner) for run in found)))
            if all(run.state.final for run in found):
                return
            time.sleep(LOOK_SECONDS)


def _ladder(run: Run, stages: Sequence[Stage], spinner: Spinner) -> Table:
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    told = f": {run.reason}" if run.reason and run.state is RunState.WAITING else ""
    state = Text.from_markup(render.coloured(run.state.value)).append(told)
    made.add_row(Text(""), Text(f"{run.host} ", style="bold").append(f"run {run.id} ", style="dim").append_text(state))
    for stage in stages:
        if stage.name in (StageName.ROLLBACK, StageName.ROLLBACK_CHECK) and stage.state is StageState.SKIPPED:
            continue
        mark, name, spent, counts, reason = render.stage_cells(stage)
        first = spinner if stage.state is StageState.RUNNING else Text.from_markup(mark)
        line = Text(f"{name:<15}{spent:>12}  {counts}").append(f"  {Text.from_markup(reason).plain}", style="dim")
        made.add_row(first, line)
    return made
