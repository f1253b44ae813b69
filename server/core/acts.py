"""What a person may do: one function for each act, the same for the buttons, the API and the commands.

Each writes the audit log, makes at most one run for one wish (pressing twice is pressing once), and leaves it to the
scheduler to set that run going.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.core import fleet, repos
from server.core.config import Config
from server.core.errors import FleetFaults, QueueTrouble, Refused, UsageFault
from server.core.events import Events
from server.core.model import Generation, Host, Repo, Run
from server.core.queue import BUILD, DEPLOY, Queue
from server.core.states import ROLLBACK_STAGES, Action, Cause, Force, HostState, RunState, StageName, stages_for
from server.core.store import Store

VERIFY_STAGES = (StageName.SMOKE, StageName.POST_SWITCH)


@dataclass(frozen=True)
class Context:
    """Who acts, and on which toto."""

    config: Config
    store: Store
    queue: Queue
    actor: str


@dataclass(frozen=True)
class At:
    """A host's definition at a commit."""

    repo: Repo
    ref: str
    commit: str
    identity: str | None
    wave: int


def the_host(ctx: Context, name: str) -> Host:
    """A host by name.

    Raises:
        UsageFault: toto knows no such host.
    """
    host = ctx.store.host(name)
    if host is None:
        known = ", ".join(host.name for host in ctx.store.hosts()) or "none yet: push a fleet"
        raise UsageFault(f"toto knows no host {name}", mend=f"known: {known}")
    return host


def named(store: Store, words: Sequence[str]) -> list[str]:
    """The hosts that these words name, each once, in their order: `@edge` stands for all hosts with the tag `edge`.

    Raises:
        UsageFault: No host has that tag.
    """
    found: list[str] = []
    for word in words:
        names = [word]
        if word.startswith("@"):
            names = [host.name for host in store.hosts() if word[1:] in host.tags]
            if not names:
                tags = sorted({f"@{tag}" for host in store.hosts() for tag in host.tags})
                raise UsageFault(f"no host has the tag {word[1:]}", mend=f"tags: {', '.join(tags) or 'none'}")
        found += [name for name in names if name not in found]
    return found


def the_run(ctx: Context, run_id: str) -> Run:
    """A run by its id.

    Raises:
        UsageFault: There is no such run.
    """
    run = ctx.store.run(run_id)
    if run is None:
        raise UsageFault(f"there is no run {run_id}", mend="`toto runs` lists them")
    return run


def resting_state(host: Host) -> HostState:
    """What a host's state is when nothing happens to it."""
    if host.held_by is not None:
        return HostState.HELD
    if host.generation is None:
        return HostState.NEW
    return HostState.CURRENT if host.wanted in (None, host.identity) else HostState.BEHIND


def wanted_at(ctx: Context, host: Host, ref: str | None) -> At:
    """The host's definition at a ref; at the newest commit of the deployed branch where none is named.

    Raises:
        UsageFault: No such ref.
        Refused: That commit has no such host, or its files are invalid.
    """
    repo = ctx.store.repo(host.repo)
    if repo is None:
        raise UsageFault(f"toto has no repository {host.repo}", mend=f"`toto repo add {host.repo}`")
    named = ref or repo.branch
    commit = repos.resolve(Path(repo.path), named)
    tree = repos.tree(Path(repo.path), commit)
    found = fleet.load(tree)
    entry = found.host(host.name)
    if entry is None:
        raise Refused(f"{named} ({commit[:7]}) has no host {host.name}", where="fleet.toml")
    return At(repo, named, commit, fleet.evaluate(tree, found, host.name).identity, entry.wave)


def rebuild_sentence(ctx: Context, host_name: str, ref: str | None = None) -> str:
    """What a rebuild will do, exactly."""
    host = the_host(ctx, host_name)
    try:
        at = wanted_at(ctx, host, ref)
    except FleetFaults as faults:
        return f"This cannot work: the fleet's files at {ref or 'the deployed branch'} are invalid: {faults}"
    built = f"Build {host.name}'s release at {at.ref} ({at.commit[:7]}) again from its lock, rehearse it in a VM"
    if host.held_by is not None:
        return f"{built}, and activate nothing: {host.name} is held by {host.held_by} ({host.held_why})."
    if at.identity == host.identity:
        return (
            f"{built}, and install nothing, because generation {host.generation} runs it already: "
            f"only its smoke and post-switch tests run on {host.name}."
        )
    return (
        f"{built}, then activate it on {host.name} as a new generation and test it there; "
        f"if that fails, {host.name} returns to generation {host.generation}."
        if host.generation is not None
        else f"{built}, then activate it on {host.name} for the first time and test it there; "
        f"if that fails, {host.name} returns to what it was before toto."
    )


def rebuild(
    ctx: Context,
    host_name: str,
    ref: str | None = None,
    forces: Sequence[Force] = (),
    why: str | None = None,
    cause: Cause = Cause.REBUILD,
) -> Run:
    """Build a host's release again and take it up the whole ladder.

    Raises:
        UsageFault: No such host or ref, or a force without a reason.
        Refused: The release was rejected, and `--again` was not given.
    """
    host = the_host(ctx, host_name)
    at = wanted_at(ctx, host, ref)
    if forces and not why:
        raise UsageFault(f"--{forces[0]} wants a reason", mend='add -m "…"')
    rejected = ctx.store.rejected(host.name, at.identity or "")
    if rejected and Force.AGAIN not in forces and at.identity != host.identity:
        raise Refused(
            f"this release of {host.name} was rejected by {rejected['who']}: {rejected['why']}",
            mend='to try it all the same: --again -m "…"',
        )
    for run in ctx.store.open_runs(host.name):
        if (run.cause, run.commit, run.forces) == (cause, at.commit, tuple(forces)):
            return run
    action = Action.HELD if host.held_by is not None else Action.DEPLOY
    made = ctx.store.add_run(
        stages_for(Action.DEPLOY),
        repo=host.repo,
        host=host.name,
        commit=at.commit,
        cause=cause.value,
        action=action.value,
        identity=at.identity,
        ref=f"refs/heads/{at.ref}" if at.ref == at.repo.branch else at.ref,
        wave=at.wave,
        phase=BUILD,
        actor=ctx.actor,
        why=why,
        forces=[force.value for force in forces],
    )
    _acted(ctx, cause.value, host.name, why, run=made.id, commit=at.commit, forces=[force.value for force in forces])
    return made


def update(ctx: Context, host_name: str, why: str | None = None) -> Run:
    """Resolve a host's packages anew, and take the new lock up the whole ladder."""
    return rebuild(ctx, host_name, why=why, cause=Cause.UPDATE)


def rollback_goal(ctx: Context, host: Host, to: int | None) -> Generation:
    """The generation that a rollback returns to: `to`, or the newest good one before the running one.

    Raises:
        UsageFault: There is none, or it cannot be returned to.
    """
    if host.generation is None:
        raise UsageFault(f"{host.name} runs nothing that toto put there", mend="there is nothing to roll back")
    if to is None:
        goal = ctx.store.good_before(host.name, host.generation)
        if goal is None:
            raise UsageFault(f"{host.name} has no good generation before {host.generation}", mend="see `toto hosts`")
        return goal
    found = ctx.store.generation(host.name, to)
    if found is None:
        raise UsageFault(f"{host.name} has no generation {to}", mend=f"`toto hosts {host.name}` lists them")
    if found.number == host.generation:
        raise UsageFault(f"{host.name} runs generation {to} already", mend="choose another one")
    if found.state not in ("good", "rejected"):
        raise UsageFault(f"generation {to} of {host.name} was never good", mend=f"`toto hosts {host.name}` lists them")
    return found


def rollback_sentence(ctx: Context, host_name: str, to: int | None = None) -> str:
    """What a rollback will do, exactly."""
    host = the_host(ctx, host_name)
    goal = rollback_goal(ctx, host, to)
    what = f"release {goal.release[:12]}, commit {(goal.commit or '')[:7]}" if goal.release else "as toto found it"
    left = f"Release {host.release[:12]}" if host.release else "What it leaves"
    return (
        f"Return {host.name} from generation {host.generation} to generation {goal.number} ({what}) and check it. "
        f"{left} is rejected there, and {host.name} is held: "
        f"nothing is activated on it until `toto unhold {host.name}`."
    )


def rollback(ctx: Context, host_name: str, to: int | None = None, why: str | None = None) -> Run:
    """Return a host to an earlier generation; hold it, and reject the release that it leaves.

    Raises:
        UsageFault: No such host, or nothing to return to.
    """
    host = the_host(ctx, host_name)
    for run in ctx.store.open_runs(host.name):
        if run.cause is Cause.ROLLBACK and (to is None or run.target_generation == to):
            return run
    goal = rollback_goal(ctx, host, to)
    made = ctx.store.add_run(
        ROLLBACK_STAGES,
        repo=host.repo,
        host=host.name,
        commit=goal.commit or host.commit or "0" * 40,
        cause=Cause.ROLLBACK.value,
        action=Action.DEPLOY.value,
        release=goal.release,
        target_generation=goal.number,
        phase=DEPLOY,
        actor=ctx.actor,
        why=why or f"rolled back from generation {host.generation} to {goal.number}",
    )
    if host.held_by is None:
        hold_why = why or f"rolled back to generation {goal.number}"
        ctx.store.set_host(host.name, held_by=ctx.actor, held_why=hold_why, state=HostState.HELD.value)
    _acted(ctx, "rollback", host.name, why, run=made.id, from_generation=host.generation, to_generation=goal.number)
    return made


def verify(ctx: Context, host_name: str) -> Run:
    """Run smoke and post-switch tests on a host now; change nothing.

    Raises:
        UsageFault: No such host, or nothing that toto put there runs on it.
    """
    host = the_host(ctx, host_name)
    if host.generation is None or host.commit is None:
        raise UsageFault(f"{host.name} runs nothing that toto put there", mend="push, or `toto rebuild` it first")
    for run in ctx.store.open_runs(host.name):
        if run.cause is Cause.VERIFY:
            return run
    made = ctx.store.add_run(
        VERIFY_STAGES,
        repo=host.repo,
        host=host.name,
        commit=host.commit,
        cause=Cause.VERIFY.value,
        action=Action.TEST.value,
        identity=host.identity,
        release=host.release,
        phase=DEPLOY,
        actor=ctx.actor,
    )
    _acted(ctx, "verify", host.name, None, run=made.id)
    return made


def retry(ctx: Context, run_id: str, forces: Sequence[Force] = (), why: str | None = None) -> Run:
    """A new run of the same commit, after `failed` or `error`.

    Raises:
        UsageFault: No such run, or it did not end so.
    """
    old = the_run(ctx, run_id)
    if old.state not in (RunState.FAILED, RunState.ERROR):
        raise UsageFault(
            f"run {run_id} is {old.state}: only `failed` and `error` can be retried", mend="see `toto rebuild`"
        )
    match old.cause:
        case Cause.ROLLBACK:
            return rollback(ctx, old.host, old.target_generation, old.why)
        case Cause.VERIFY:
            return verify(ctx, old.host)
        case _:
            return rebuild(ctx, old.host, old.commit, forces, why, Cause.RETRY)


def cancel(ctx: Context, run_id: str) -> Run:
    """Ask a run to stop; one that began to change its target is finished or rolled back instead.

    Raises:
        UsageFault: No such run, or it has ended.
    """
    run = the_run(ctx, run_id)
    if not ctx.store.request_cancel(run_id):
        raise UsageFault(f"run {run_id} has ended: it is {run.state}", mend="there is nothing to cancel")
    _acted(ctx, "cancel", run_id, None, host=run.host)
    return the_run(ctx, run_id)


def hold(ctx: Context, host_name: str, why: str) -> Host:
    """Nothing is activated on this host until `unhold`; pushes are still built and rehearsed.

    Raises:
        UsageFault: No such host, or no reason.
    """
    host = the_host(ctx, host_name)
    if not why or not why.strip():
        raise UsageFault("a hold wants a reason", mend='add -m "…"')
    ctx.store.set_host(host.name, held_by=ctx.actor, held_why=why.strip(), state=HostState.HELD.value)
    _acted(ctx, "hold", host.name, why.strip())
    return the_host(ctx, host_name)


def unhold(ctx: Context, host_name: str, why: str | None = None) -> Host:
    """End a hold. What was pushed meanwhile is deployed by the next push or by a rebuild, not by this.

    Raises:
        UsageFault: No such host, or it is not held.
    """
    host = the_host(ctx, host_name)
    if host.held_by is None:
        raise UsageFault(f"{host.name} is not held", mend="there is nothing to end")
    ctx.store.set_host(host.name, held_by=None, held_why=None)
    ctx.store.set_host(host.name, state=resting_state(the_host(ctx, host_name)).value)
    _acted(ctx, "unhold", host.name, why, held_by=host.held_by, held_why=host.held_why)
    return the_host(ctx, host_name)


def _acted(ctx: Context, act: str, subject: str, reason: str | None, **detail: Any) -> None:
    """Write the audit log, tell the watchers, and ask for a new run's build. What deploys, and what Redis did not take,
    the reconciler sends on its way: it knows who holds the host.
    """
    ctx.store.add_act(ctx.actor, act, subject, reason, **detail)
    Events(ctx.config).tell("host", host=str(detail.get("host", subject)))
    run = ctx.store.run(str(detail.get("run", "")))
    if run is not None and run.state is RunState.WAITING and run.phase == BUILD:
        try:
            ctx.queue.enqueue_run(run.phase, run.id, run.attempt)
        except QueueTrouble:
            return
