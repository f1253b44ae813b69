"""Commands by which a person acts on hosts and runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence

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


def _known(ctx: Context, words: Sequence[str]) -> list[str]:
    """The hosts that these words name; all are looked up before the first is touched."""
    return [acts.the_host(ctx, name).name for name in acts.named(ctx.store, words)]


def _begun(ctx: Context, runs: Sequence[Run], arguments: argparse.Namespace, *, several: bool = False) -> int:
    """Tell that runs began; follow them where that was asked. JSON is a list where several hosts could be named."""
    if arguments.follow:
        return following.follow_runs(ctx.store, [run.id for run in runs], as_json=arguments.json, several=several)
    if arguments.json:
        said = [present.run_json(run, ctx.store.stages(run.id)) for run in runs]
        render.print_json(said if several else said[0])
        return 0
    for run in runs:
        render.console.print(f"run {run.id} of {run.host} {run.state.value}; {ctx.config.address}/runs/{run.id}")
    if not ctx.queue.ping():
        render.console.print("toto is not running: what waits begins when it is back (`toto up`)", style="yellow")
    return 0


def _say(arguments: argparse.Namespace, sentence: str) -> None:
    if not arguments.json:
        render.console.print(sentence, markup=False)


def rebuild(config: Config, arguments: argparse.Namespace) -> int:
    """`toto rebuild HOST`."""
    ctx = context(config)
    forced = forces(arguments)
    names = _known(ctx, [arguments.host])
    for name in names:
        _say(arguments, acts.rebuild_sentence(ctx, name, arguments.ref))
    runs = [acts.rebuild(ctx, name, arguments.ref, forced, arguments.why) for name in names]
    return _begun(ctx, runs, arguments, several=len(runs) > 1)


def rollback(config: Config, arguments: argparse.Namespace) -> int:
    """`toto rollback HOST`: what is rejected and held is said before, and after."""
    ctx = context(config)
    names = _known(ctx, [arguments.host])
    for name in names:
        _say(arguments, acts.rollback_sentence(ctx, name, arguments.to))
    runs = [acts.rollback(ctx, name, arguments.to, arguments.why) for name in names]
    code = _begun(ctx, runs, arguments, several=len(runs) > 1)
    for name in names:
        _say(arguments, f"{name} is held; `toto unhold {name}` ends it")
    return code


def verify(config: Config, arguments: argparse.Namespace) -> int:
    """`toto verify HOST`."""
    ctx = context(config)
    runs = [acts.verify(ctx, name) for name in _known(ctx, [arguments.host])]
    return _begun(ctx, runs, arguments, several=len(runs) > 1)


def retry(config: Config, arguments: argparse.Namespace) -> int:
    """`toto retry RUN`."""
    ctx = context(config)
    return _begun(ctx, [acts.retry(ctx, arguments.run_id, forces(arguments), arguments.why)], arguments)


def cancel(config: Config, arguments: argparse.Namespace) -> int:
    """`toto cancel RUN`."""
    ctx = context(config)
    run = acts.cancel(ctx, arguments.run_id)
    if arguments.follow:
        return following.follow_runs(ctx.store, [run.id], as_json=arguments.json)
    if arguments.json:
        render.print_json(present.run_json(run, ctx.store.stages(run.id)))
    elif run.state.final:
        render.console.print(render.outcome(run))
    else:
        render.console.print(
            f"run {run.id} was asked to stop; if it has begun to change {run.host}, it is finished or rolled back"
        )
    return 0


def follow(config: Config, arguments: argparse.Namespace) -> int:
    """`toto follow PUSH|RUN`: twelve hexadecimal digits are a push, a shorter number is a run."""
    store = Store(config)
    if PUSH_ID.fullmatch(arguments.id):
        return following.follow_push(store, arguments.id, as_json=arguments.json)
    if store.run(arguments.id) is None:
        raise UsageFault(
            f"there is no push or run {arguments.id}",
            mend="`toto pushes` and `toto runs` list them (a run is a number)",
        )
    return following.follow_runs(store, [arguments.id], as_json=arguments.json)


PUSH_ID = re.compile(r"[0-9a-f]{12}")


def _each(arguments: argparse.Namespace, ctx: Context, act: Callable[[str], Host]) -> int:
    """An act on each of the named hosts."""
    changed = [act(name) for name in _known(ctx, arguments.hosts)]
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
    runs = [acts.update(ctx, name, arguments.why) for name in _known(ctx, arguments.hosts)]
    return _begun(ctx, runs, arguments, several=True)
