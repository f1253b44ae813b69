"""Commands that look and change nothing."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from host_tests.judge_command import judge_command
from jobs import plan as planning
from server.commands import render
from server.core import present, repos
from server.core.acts import Context, named, the_host, the_run
from server.core.config import Config, explain
from server.core.errors import UsageFault
from server.core.log import read_log
from server.core.model import Host, Run
from server.core.queue import Queue
from server.core.states import StageName, StageState
from server.core.store import Store

FOLLOW_SECONDS = 0.3
PIECE = 1 << 20


def hosts(config: Config, arguments: argparse.Namespace) -> int:
    """`toto hosts [NAME]`: with a name (or `@tag`) the generations too."""
    store = Store(config)
    if arguments.name is None:
        found = store.hosts()
    else:
        found = [the_host(Context(config, store, Queue(config), ""), name) for name in named(store, [arguments.name])]
    if arguments.json:
        render.print_json([_host_json(store, host, generations=arguments.name is not None) for host in found])
        return 0
    render.show_hosts(found)
    for host in found if arguments.name is not None else []:
        render.console.print()
        render.show_generations(store.generations(host.name))
    return 0


def _host_json(store: Store, host: Host, *, generations: bool) -> dict[str, object]:
    said = present.host_json(host)
    if generations:
        said["generations"] = [present.generation_json(each) for each in store.generations(host.name)]
    return said


def pushes(config: Config, arguments: argparse.Namespace) -> int:
    """`toto pushes [ID]`."""
    store = Store(config)
    if arguments.id is None:
        found = store.pushes(arguments.limit)
        if arguments.json:
            render.print_json([present.push_json(push) for push in found])
        else:
            render.show_pushes(found)
        return 0
    push = store.push(arguments.id)
    if push is None:
        raise UsageFault(f"there is no push {arguments.id}", mend="`toto pushes` lists them; a new one takes a moment")
    rows, runs = store.plan(push.id), store.runs(push=push.id, limit=1000)
    if arguments.json:
        render.print_json(present.push_json(push, rows, runs))
        return 0
    render.show_pushes([push])
    render.console.print()
    render.show_plan(rows)
    if runs:
        render.console.print()
        render.show_runs(runs)
    return 0


def runs(config: Config, arguments: argparse.Namespace) -> int:
    """`toto runs [ID]`."""
    store = Store(config)
    if arguments.id is None:
        found = _runs(store, arguments)
        if arguments.json:
            render.print_json([present.run_json(run) for run in found])
        else:
            render.show_runs(found)
        return 0
    run = the_run(Context(config, store, Queue(config), ""), arguments.id)
    stages = store.stages(run.id)
    if arguments.json:
        render.print_json(present.run_json(run, stages))
    else:
        render.show_run(run, stages)
    return 0


def _runs(store: Store, arguments: argparse.Namespace) -> list[Run]:
    """The newest runs that were asked for; of several hosts the newest of all."""
    if arguments.host is None:
        return store.runs(state=arguments.state, limit=arguments.limit)
    found = []
    for name in named(store, [arguments.host]):
        of_host = store.runs(host=name, state=arguments.state, limit=arguments.limit)
        if not of_host and store.host(name) is None:
            raise UsageFault(f"toto knows no host {name}", mend="`toto hosts` lists them")
        found += of_host
    return sorted(found, key=lambda run: int(run.id), reverse=True)[: arguments.limit]


def logs(config: Config, arguments: argparse.Namespace) -> int:
    """`toto logs RUN [STAGE]`: the stage's log; of all stages that began, where none is named."""
    store = Store(config)
    run = the_run(Context(config, store, Queue(config), ""), arguments.run_id)
    if arguments.stage is not None and arguments.stage not in list(StageName):
        raise UsageFault(f"there is no stage {arguments.stage}", mend=f"stages: {', '.join(StageName)}")
    stages = store.stages(run.id)
    began = [stage.name for stage in stages if stage.started is not None]
    wanted = [StageName(arguments.stage)] if arguments.stage else began
    if arguments.stage and all(stage.name is not wanted[0] for stage in stages):
        had = ", ".join(stage.name for stage in stages) or "none"
        raise UsageFault(f"run {run.id} has no stage {arguments.stage}", mend=f"its stages: {had}")
    if not arguments.follow and all(name not in began for name in wanted):
        reason = f" ({run.reason})" if run.reason else ""
        print(f"no log yet: run {run.id} is {run.state.value}{reason}", file=sys.stderr)
    for name in wanted:
        if len(wanted) > 1:
            print(f"── {name.value} " + "─" * max(0, 70 - len(name)), flush=True)
        _pour(config, store, run.id, name, follow=arguments.follow)
    return 0


def _pour(config: Config, store: Store, run_id: str, stage: StageName, *, follow: bool) -> None:
    """A log to standard output, byte for byte; to its end, where `follow` is set."""
    offset = 0
    while True:
        state = next((each.state for each in store.stages(run_id) if each.name is stage), StageState.SKIPPED)
        piece = read_log(config, run_id, stage, offset, PIECE)
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()
        offset = piece.offset + len(piece.data)
        if offset < piece.length:
            continue
        run = store.run(run_id)
        if not follow or state.final or run is None or run.state.final:
            return
        time.sleep(FOLLOW_SECONDS)


def plan(config: Config, arguments: argparse.Namespace) -> int:
    """`toto plan REPO REF [--against REF]`: what a push of REF would do, and why."""
    store = Store(config)
    repo = store.repo(arguments.repo)
    if repo is None:
        known = ", ".join(each.name for each in store.repos()) or "none yet"
        raise UsageFault(f"toto has no repository {arguments.repo}", mend=f"known: {known}; `toto repo add` makes one")
    path = Path(repo.path)
    commit = repos.resolve(path, arguments.ref)
    tree = repos.tree(path, commit)
    if arguments.against is not None:
        rows = planning.plan_against(tree, repos.tree(path, repos.resolve(path, arguments.against)))
    else:
        deploys = _deploys(path, repo.branch, arguments.ref, commit)
        rows = [row for _, row in planning.plan_commit(store, tree, deploys=deploys)]
    if arguments.json:
        render.print_json(present.plan_json(commit, rows))
    else:
        render.show_plan(rows)
    return 0


def _deploys(path: Path, branch: str, ref: str, commit: str) -> bool:
    """Whether a push of `ref` deploys: a branch by its name; a tag or commit unless it lies on other branches alone."""
    heads = repos.heads(path)
    name = ref.removeprefix("refs/heads/")
    if name in heads and not ref.startswith("refs/tags/"):
        return name == branch
    holding = [name for name, head in heads.items() if repos.is_ancestor(path, commit, head)]
    return branch in holding or not holding


def judge(_config: Config, arguments: argparse.Namespace) -> int:
    """`toto judge [FILE] [--exit N]`."""
    if arguments.file is None or arguments.file == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(arguments.file).read_bytes()
        except OSError as error:
            raise UsageFault(f"{arguments.file} cannot be read: {error.strerror}") from error
    text, code = judge_command(data, arguments.exit, arguments.json)
    print(text)
    return code


def config_explain(_config: Config, arguments: argparse.Namespace) -> int:
    """`toto config explain`: every setting, its value, and where it comes from."""
    config, sources = explain(arguments.data)
    values = {**dataclasses.asdict(config), "limits": dataclasses.asdict(config.limits), "data": str(config.data)}
    if arguments.json:
        render.print_json({key: {"value": values[key], "from": sources[key]} for key in values})
        return 0
    made = render.table("setting", "value", "from")
    for key, value in values.items():
        if key == "limits":
            for name, limit in value.items():
                made.add_row(f"limits.{name}", str(limit), sources[key])
        else:
            made.add_row(key, str(value) or "–", sources[key])
    render.console.print(made)
    return 0
