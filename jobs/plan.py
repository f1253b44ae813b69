"""From a push to its plan and runs: which hosts a commit changes, by identity, not by file name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tests import suite
from jobs.decide import Known, decide
from server.core import fleet, repos
from server.core.definition import Fleet, HostEntry
from server.core.errors import FleetFaults, Refused, UsageFault
from server.core.events import Events
from server.core.model import ZERO, Host, PlanRow, Push
from server.core.states import Action, Cause, Force, HostState, RunState, stages_for
from server.core.store import Store
from server.core.store_base import now
from server.core.tree import Tree

SKIP, PLAN_ONLY, REHEARSE, AGAIN = "toto.skip", "toto.plan", "toto.rehearse", "toto.again"


@dataclass(frozen=True)
class Wanted:
    """What a commit wants a host to be."""

    entry: HostEntry
    identity: str
    tests: str


def evaluate(tree: Tree) -> tuple[Fleet, list[Wanted]]:
    """Each host's identity and tests at a commit.

    Raises:
        FleetFaults: The commit's fleet files are invalid.
    """
    found = fleet.load(tree)
    return found, [wanted(tree, found, entry) for entry in found.hosts]


def wanted(tree: Tree, found: Fleet, entry: HostEntry) -> Wanted:
    """One host's identity and tests at a commit.

    Raises:
        FleetFaults: Its definition is invalid.
    """
    return Wanted(entry, fleet.evaluate(tree, found, entry.name).identity, suite.collect(tree, entry.name).digest)


def plan_commit(store: Store, tree: Tree, *, deploys: bool, again: bool = False) -> list[tuple[Wanted, PlanRow]]:
    """A commit's plan against what is deployed; changes nothing.

    Raises:
        FleetFaults: The commit's fleet files are invalid.
    """
    rows = []
    for want in evaluate(tree)[1]:
        known = known_of(store, want.entry.name, want.identity, want.tests)
        rows.append((want, decide(want.entry.name, want.identity, want.tests, known, deploys=deploys, again=again)))
    return rows


def known_of(store: Store, name: str, identity: str, tests: str) -> Known:
    """What the database knows that bears on a host's plan."""
    rejected = store.rejected(name, identity)
    return Known(
        host=store.host(name),
        rejected=f"by {rejected['who']}: {rejected['why']}" if rejected else None,
        failed=store.last_rehearsal_failure(name, identity, tests),
    )


def plan_against(tree: Tree, other: Tree) -> list[PlanRow]:
    """A commit's plan against another commit, as if that one were what runs everywhere."""
    before = {want.entry.name: want for want in evaluate(other)[1]}
    rows = []
    for want in evaluate(tree)[1]:
        was = before.get(want.entry.name)
        host = None
        if was is not None:
            host = Host(
                name=was.entry.name,
                repo="",
                backend=was.entry.backend,
                state=HostState.CURRENT,
                identity=was.identity,
                tests=was.tests,
            )
        name = want.entry.name
        rows.append(decide(name, want.identity, want.tests, Known(host), deploys=True, again=False))
    return rows


def plan_push(store: Store, events: Events, push_id: str) -> list[str]:
    """Plan one push and make its runs, once; a second call changes nothing. Returns the hosts that have runs.

    A fault in the plan itself becomes the push's state, so that nobody waits for ever.
    """
    push = store.push(push_id)
    if push is None or push.state != "received":
        return []
    repo = store.repo(push.repo)
    try:
        if repo is None:
            raise UsageFault(f"toto has no repository {push.repo}", mend=f"`toto repo add {push.repo}`")
        if ignored := _ignored(push, repo.branch):
            store.set_push(push_id, state="ignored", reason=ignored)
            return []
        return _make_runs(store, push, Path(repo.path), repo.branch)
    except (Refused, UsageFault) as error:
        store.set_push(push_id, state="error", reason=str(error))
        return []
    finally:
        events.tell("push", push=push_id)


def _ignored(push: Push, branch: str) -> str | None:
    """Why a push is not planned; None where it is."""
    if push.new == ZERO:
        kept = "; the hosts stay as they are" if push.ref == f"refs/heads/{branch}" else ""
        return f"{push.ref} was deleted{kept}"
    if not push.ref.startswith("refs/heads/"):
        return f"{push.ref} is no branch: nothing is deployed from it"
    if SKIP in push.options:
        return "the pusher asked to skip it (toto.skip); the next push carries it"
    return None


def _make_runs(store: Store, push: Push, path: Path, branch: str) -> list[str]:
    tree = repos.tree(path, push.new)
    deploys = push.ref == f"refs/heads/{branch}" and REHEARSE not in push.options
    try:
        planned = plan_commit(store, tree, deploys=deploys, again=AGAIN in push.options)
    except FleetFaults as faults:
        if push.ref != f"refs/heads/{branch}" and "fleet.toml" not in tree.entries:
            store.set_push(push.id, state="ignored", reason=f"{push.ref} holds no fleet.toml")
            return []
        raise faults from None
    if push.ref == f"refs/heads/{branch}":
        for want, row in planned:
            _meet(store, push.repo, want, row)
    plan_only = PLAN_ONLY in push.options
    rows = [(row, None if plan_only else _run_fields(store, push, want, row)) for want, row in planned]
    store.save_plan(push.id, [(row, fields, stages_for(row.action)) for row, fields in rows])
    return [row.host for row, fields in rows if fields is not None]


def _meet(store: Store, repo: str, want: Wanted, row: PlanRow) -> None:
    """Enter or refresh the host as the deployed branch describes it."""
    entry, known = want.entry, store.host(want.entry.name)
    values: dict[str, Any] = {"wanted": want.identity, "tags": list(entry.tags), "address": entry.address}
    if known is not None and known.state is HostState.CURRENT and row.changed:
        values["state"] = HostState.BEHIND.value
    elif known is not None and known.state is HostState.BEHIND and not row.changed:
        values["state"] = HostState.CURRENT.value
    if entry.host_key is not None:
        values["host_key"] = entry.host_key
    store.put_host(entry.name, repo, entry.backend, **values)


def _run_fields(store: Store, push: Push, want: Wanted, row: PlanRow) -> dict[str, Any] | None:
    """The run that a plan row asks for; None where nothing is to do."""
    if row.action is Action.NONE:
        return None
    fields = {
        "repo": push.repo,
        "host": row.host,
        "commit": push.new,
        "cause": Cause.PUSH.value,
        "action": row.action.value,
        "identity": want.identity,
        "tests": want.tests,
        "wave": want.entry.wave,
        "actor": push.pusher,
        "ref": push.ref,
        "reason": row.reason,
        "forces": [Force.AGAIN.value] if AGAIN in push.options else [],
    }
    if row.action is Action.HELD and row.changed and store.rejected(row.host, want.identity):
        # A rejected release is not rehearsed either: its run has ended before it began.
        fields |= {"state": RunState.HELD.value, "phase": "done", "finished": now()}
    return fields
