"""Commands by which a person acts on hosts and runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from server.commands import follow as following
from server.commands import render
from server.core import acts, present
from server.core.acts import Context
from server.core.config import Config
from server.core.errors import UsageFault
from server.core.model import Host, Run
from server.core.queue import Queue
from server.core.states import Force
from server.core.store import Store
from server.up import whoami


def context(config: Config) -> Context:
    """Who acts, and on which toto."""
    return Context(config, Store(config), Queue(config), whoami())


def forces(arguments: argparse.Namespace) -> tuple[Force, ...]:
    """The forcing options given; each wants a reason.

    Raises:
        UsageFault: There is none.
    """
    given = tuple(force for force in Force if getattr(arguments, force.value.replace("-", "_"), False))
    if given and not arguments.why:
        raise UsageFault(f"--{given[0]} wants a reason", mend='add -m "…"')
    return given


def _begun(ctx: Context, run: Run, arguments: argparse.Namespace) -> int:
    """Tell that a run began; follow it where that was asked."""
    if arguments.follow:
        return following.follow_runs(ctx.store, [run.id], as_json=arguments.json)
    if arguments.json:
        render.print_json(present.run_json(run, ctx.store.stages(run.id)))
    else:
        render.console.print(f"run {run.id} of {run.host} {run.state.value}; {ctx.config.address}/runs/{run.id}")
        if not ctx.queue.ping():
            render.console.print("toto is not running: the run begins when it is back (`toto up`)", style="yellow")
    return 0


def _say(arguments: argparse.Namespace, sentence: str) -> None:
    if not arguments.json:
        render.console.print(sentence, markup=False)


def rebuild(config: Config, arguments: argparse.Namespace) -> int:
    """`toto rebuild HOST`."""
    ctx = context(config)
    forced = forces(arguments)
    _say(arguments, acts.rebuild_sentence(ctx, arguments.host, arguments.ref))
    return _begun(ctx, acts.rebuild(ctx, arguments.host, arguments.ref, forced, arguments.why), arguments)


def rollback(config: Config, arguments: argparse.Namespace) -> int:
    """`toto rollback HOST`: what is rejected and held is said before, and after."""
    ctx = context(config)
    _say(arguments, acts.rollback_sentence(ctx, arguments.host, arguments.to))
    run = acts.rollback(ctx, arguments.host, arguments.to, arguments.why)
    code = _begun(ctx, run, arguments)
    _say(arguments, f"{arguments.host} is held; `toto unhold {arguments.host}` ends it")
    return code


def verify(config: Config, arguments: argparse.Namespace) -> int:
    """`toto verify HOST`."""
    ctx = context(config)
    return _begun(ctx, acts.verify(ctx, arguments.host), arguments)


def retry(config: Config, arguments: argparse.Namespace) -> int:
    """`toto retry RUN`."""
    ctx = context(config)
    return _begun(ctx, acts.retry(ctx, arguments.run_id, forces(arguments), arguments.why), arguments)


def cancel(config: Config, arguments: argparse.Namespace) -> int:
    """`toto cancel RUN`."""
    ctx = context(config)
    run = acts.cancel(ctx, arguments.run_id)
    if arguments.follow:
        following.follow_runs(ctx.store, [run.id], as_json=arguments.json)
    elif arguments.json:
        render.print_json(present.run_json(run, ctx.store.stages(run.id)))
    elif run.state.final:
        render.console.print(render.outcome(run))
    else:
        render.console.print(
            f"run {run.id} was asked to stop; if it has begun to change {run.host}, it is finished or rolled back instead"
        )
    return 0


def follow(config: Config, arguments: argparse.Namespace) -> int:
    """`toto follow PUSH|RUN`: numbers are runs, everything else is a push."""
    store = Store(config)
    if arguments.id.isdecimal() and store.run(arguments.id) is not None and store.push(arguments.id) is None:
        return following.follow_runs(store, [arguments.id], as_json=arguments.json)
    if arguments.id.isdecimal() and len(arguments.id) < PUSH_ID_LENGTH:
        raise UsageFault(f"there is no run {arguments.id}", mend="`toto runs` lists them")
    return following.follow_push(store, arguments.id, as_json=arguments.json)


PUSH_ID_LENGTH = 12
"""Characters of a push's id, hexadecimal: a run's number never gets that long."""


def _each(arguments: argparse.Namespace, ctx: Context, act: Callable[[str], Host]) -> int:
    """An act on each of the named hosts; all names are looked up before the first is touched."""
    for name in arguments.hosts:
        acts.the_host(ctx, name)
    changed = [act(name) for name in arguments.hosts]
    if arguments.json:
        render.print_json([present.host_json(host) for host in changed])
    else:
        render.show_hosts(changed)
    return 0


def hold(config: Config, arguments: argparse.Namespace) -> int:
    """`toto hold HOST… -m WHY`."""
    ctx = context(config)
    return _each(arguments, ctx, lambda name: acts.hold(ctx, name, arguments.why))


def unhold(config: Config, arguments: argparse.Namespace) -> int:
    """`toto unhold HOST…`."""
    ctx = context(config)
    return _each(arguments, ctx, lambda name: acts.unhold(ctx, name, arguments.why))


def update(config: Config, arguments: argparse.Namespace) -> int:
    """`toto update HOST…`: a run for each host."""
    ctx = context(config)
    for name in arguments.hosts:
        acts.the_host(ctx, name)
    runs = [acts.update(ctx, name, arguments.why) for name in arguments.hosts]
    if arguments.follow:
        return following.follow_runs(ctx.store, [run.id for run in runs], as_json=arguments.json)
    if arguments.json:
        render.print_json([present.run_json(run, ctx.store.stages(run.id)) for run in runs])
    else:
        render.show_runs(runs)
    return 0
