"""What the pages show, gathered from the store: one frozen value for each thing on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from server.core.model import Generation, Host, PlanRow, Push, Repo, Run, Stage
from server.core.states import Action, HostState, RunState
from server.core.store import Store
from server.web import words

SEVERITY = {
    HostState.UNKNOWN: 0,
    HostState.UNREACHABLE: 1,
    HostState.DRIFTED: 2,
    HostState.DEPLOYING: 4,
    HostState.HELD: 5,
    HostState.NEEDS_REBOOT: 6,
    HostState.BEHIND: 7,
    HostState.NEW: 8,
    HostState.CURRENT: 9,
}
LAST_RUN_BAD = 3
"""Where a host stands among `SEVERITY` whose newest run ended badly."""
BAD_ENDS = (RunState.FAILED, RunState.ROLLED_BACK, RunState.ROLLBACK_FAILED, RunState.ERROR, RunState.UNKNOWN)


@dataclass(frozen=True)
class RunView:
    """A run as a line of a table."""

    run: Run
    stages: tuple[Stage, ...] = ()
    subject: str = ""
    pusher: str | None = None

    @property
    def tone(self) -> str:
        """Its colour."""
        return words.tone(self.run.state)

    @property
    def headline(self) -> str:
        """Its state, with the place where it stands or broke."""
        return words.headline(self.run, self.stages)

    @property
    def cause(self) -> str:
        """Why it exists, and by whom."""
        return words.cause(self.run, self.pusher)

    @property
    def when(self) -> datetime:
        """When it came into its present state, as nearly as is known."""
        return self.run.finished or self.run.started or self.run.created


@dataclass(frozen=True)
class HostView:
    """A host as a line of the fleet."""

    host: Host
    last: RunView | None = None

    @property
    def troubled(self) -> bool:
        """Whether its newest run ended badly."""
        return self.last is not None and self.last.run.state in BAD_ENDS

    @property
    def severity(self) -> int:
        """Its place in the list: what needs a person comes first."""
        known = SEVERITY[self.host.state]
        return min(known, LAST_RUN_BAD) if self.troubled else known

    @property
    def tone(self) -> str:
        """Its colour."""
        return words.tone(self.host.state)

    @property
    def note(self) -> str:
        """The short text under its state."""
        if self.host.held_by:
            return f"by {self.host.held_by}: {self.host.held_why}"
        if self.host.state is HostState.DEPLOYING and self.last is not None:
            return self.last.headline
        if self.host.reason:
            return self.host.reason
        return (self.last.run.reason or "") if self.troubled and self.last is not None else ""


@dataclass(frozen=True)
class Count:
    """One number of the fleet's tally."""

    key: str
    number: int
    tone: str
    word: str


@dataclass(frozen=True)
class PushView:
    """A push as a line of a table, or the head of its page."""

    push: Push
    rows: tuple[PlanRow, ...] = ()
    runs: tuple[RunView, ...] = ()

    @property
    def summary(self) -> str:
        """What it meant, in a few words."""
        if self.push.state == "received":
            return "waits to be planned"
        if self.push.state != "planned":
            return self.push.reason or self.push.state
        changed = sum(row.changed for row in self.rows)
        same = len(self.rows) - changed
        if not self.rows:
            return self.push.reason or "no host"
        said = [words.plural(changed, "host") + " changed"] if changed else []
        return ", ".join([*said, f"{same} unchanged"] if same else said)

    @property
    def changed(self) -> tuple[PlanRow, ...]:
        """The hosts that something is done with, or would be."""
        return tuple(row for row in self.rows if row.changed or row.action is not Action.NONE)

    @property
    def unchanged(self) -> tuple[PlanRow, ...]:
        """The hosts that it leaves alone."""
        return tuple(row for row in self.rows if row not in self.changed)

    @property
    def result(self) -> RunView | None:
        """The run to look at first: the worst that ended, else one that goes on."""
        order = [*BAD_ENDS, RunState.RUNNING, RunState.WAITING, RunState.HELD]
        ranked = {state: place for place, state in enumerate(order)}
        return min(self.runs, key=lambda view: ranked.get(view.run.state, len(order)), default=None)

    def run_for(self, host: str) -> RunView | None:
        """The newest run that the push caused on a host."""
        return next((view for view in reversed(self.runs) if view.run.host == host), None)


@dataclass(frozen=True)
class RepoView:
    """A repository and the newest push of its deployed branch."""

    repo: Repo
    push: Push | None


@dataclass(frozen=True)
class GenerationView:
    """A generation as a line of a host's page."""

    generation: Generation
    subject: str = ""
    running: bool = False
    last_good: bool = False
    goal: bool = False
    """Whether the host can be returned to it."""


@dataclass(frozen=True)
class Fleet:
    """The front page."""

    hosts: tuple[HostView, ...]
    shown: tuple[HostView, ...]
    repos: tuple[RepoView, ...]
    tally: tuple[Count, ...] = field(default=())

    @property
    def tone(self) -> str:
        """The colour of all of it: the icon's."""
        tones = {count.tone for count in self.tally}
        return next((each for each in ("bad", "warn", "busy", "good") if each in tones), "idle")


def run_views(store: Store, runs: Sequence[Run]) -> tuple[RunView, ...]:
    """Runs with their stages, commit subjects and pushers, in three queries."""
    stages = store.stages_of(run.id for run in runs)
    pushes = {push.id: push for push in store.pushes_by_id(run.push for run in runs)}
    subjects = store.subjects(run.commit for run in runs if run.push not in pushes)
    return tuple(_run_view(run, stages[run.id], pushes.get(run.push or ""), subjects) for run in runs)


def _run_view(run: Run, stages: list[Stage], push: Push | None, subjects: dict[str, str]) -> RunView:
    subject = push.subject if push else subjects.get(run.commit, "")
    return RunView(run, tuple(stages), subject, push.pusher if push else None)


def fleet(store: Store, text: str = "", state: str = "") -> Fleet:
    """Every host, those that need a person first; `shown` are those that the filters let through."""
    last = store.latest_runs()
    views = {view.run.host: view for view in run_views(store, list(last.values()))}
    hosts = [HostView(host, views.get(host.name)) for host in store.hosts()]
    hosts.sort(key=lambda view: (view.severity, view.host.name))
    shown = tuple(view for view in hosts if _matches(view, text) and _in_state(view, state))
    found = [RepoView(repo, store.last_push(repo.name, f"refs/heads/{repo.branch}")) for repo in store.repos()]
    return Fleet(tuple(hosts), shown, tuple(found), _tally(hosts))


def _matches(view: HostView, text: str) -> bool:
    wanted = text.strip().lower()
    if wanted.startswith("@"):
        return wanted[1:] in view.host.tags
    return wanted in " ".join((view.host.name, view.host.repo, view.host.address, *view.host.tags)).lower()


def _in_state(view: HostView, state: str) -> bool:
    return not state or view.host.state.value == state or (state == "last-run-bad" and view.troubled)


def _tally(hosts: Iterable[HostView]) -> tuple[Count, ...]:
    views = list(hosts)
    counts: dict[HostState, int] = {}
    for view in views:
        counts[view.host.state] = counts.get(view.host.state, 0) + 1
    known = [state for state in SEVERITY if state in counts]
    found = [Count(state.value, counts[state], words.tone(state), words.word(state)) for state in known]
    troubled = sum(view.troubled for view in views)
    if troubled:
        found.insert(0, Count("last-run-bad", troubled, "bad", "last run not good"))
    return tuple(found)


def push_views(store: Store, pushes: Sequence[Push]) -> tuple[PushView, ...]:
    """Pushes with their plans and runs."""
    ids = [push.id for push in pushes]
    plans, runs = store.plans(ids), store.runs_of(ids)
    views = {view.run.id: view for view in run_views(store, [run for found in runs.values() for run in found])}
    return tuple(
        PushView(push, tuple(plans[push.id]), tuple(views[run.id] for run in runs[push.id])) for push in pushes
    )


def generation_views(store: Store, host: Host) -> tuple[GenerationView, ...]:
    """A host's generations, newest first."""
    found = store.generations(host.name)
    subjects = store.subjects(each.commit for each in found)
    return tuple(
        GenerationView(
            each,
            subjects.get(each.commit or "", ""),
            running=each.number == host.generation,
            last_good=each.number == host.last_good,
            goal=each.state in ("good", "rejected") and each.number != host.generation and host.generation is not None,
        )
        for each in found
    )
