"""The command `toto`: parsing, and the one place where errors become text and exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from server.core.config import Config, load
from server.core.errors import TotoError, Trouble
from server.core.states import RunState

Run = Callable[[Config, argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints come as toto's: one line, exit code 2. No option is guessed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "allow_abbrev": False})

    def error(self, message: str) -> Any:
        """Tell the fault and where help is."""
        said = " ".join(message.split())
        self.exit(2, f"toto: {said}; `{self.prog} --help` tells how\n")


def _at_least(least: int) -> Callable[[str], int]:
    """A whole number that is not below `least`, nor beyond what a database counts with."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value < 1 << 31:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {(1 << 31) - 1}")
        return value

    number.__name__ = "whole number"
    return number


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FOLDER", help="the data folder (or TOTO_DATA)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _why(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument(
        "-m", "--message", dest="why", metavar="WHY", required=required, help="the reason, for the audit log"
    )


def _forcing(parser: argparse.ArgumentParser) -> None:
    for name, text in (
        ("again", "a rejected release, or one that failed in rehearsal"),
        ("unrehearsed", "without its rehearsal"),
        ("over-drift", "although the host is not what toto put there"),
        ("one-way", "a release that could not go back in rehearsal"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=f"force {text}; wants -m WHY")


def _following(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="wait for the end, and show it")
    _listing(parser)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(prog="toto", description="A build server for a fleet of machines.")
    top.add_argument("--version", action="version", version=f"toto {version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, module: str, function: str, text: str, parents: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = parents.add_parser(name, help=text, description=text)
        _common(made)
        made.set_defaults(run=(module, function))
        return made

    made = add("up", "serve", "up", "start Redis, web, receiver and workers; Ctrl-C stops all of it")
    made.add_argument("--port", type=int, metavar="PORT", help="port of the pages (8686)")
    made.add_argument("--workers", type=int, metavar="N", help="how many runs are built and rehearsed at once (2)")
    _listing(add("doctor", "doctor", "doctor", "what this machine can do and lacks, and how to get it"))
    made = add("init", "serve", "init", "make keys and the first administrator")
    made.add_argument(
        "--answers", metavar="FILE", help="TOML with user and password_file (or password), instead of questions"
    )

    repo = commands.add_parser("repo", help="repositories").add_subparsers(
        dest="repo_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    made = add("add", "serve", "repo_add", "make a repository with its hooks", repo)
    made.add_argument("name")
    made.add_argument("--branch", default=None, help="the branch that is deployed (main)")
    host = commands.add_parser("host", help="hosts").add_subparsers(
        dest="host_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    made = add(
        "enrol", "serve", "host_enrol", "print what a target needs, as one line to run there; pin its host key", host
    )
    made.add_argument("name")
    made.add_argument("--no-pin", action="store_true", help="only print the line")
    made.add_argument("--yes", action="store_true", help="pin the host key that the target shows, without asking")

    for name, text in (("hosts", "hosts and what they run"), ("pushes", "pushes and their plans"), ("runs", "runs")):
        made = add(name, "show", name, text)
        made.add_argument("id" if name != "hosts" else "name", nargs="?")
        _listing(made)
        if name != "hosts":
            made.add_argument("--limit", type=_at_least(1), default=20, metavar="N", help="how many at the most (20)")
        if name == "runs":
            made.add_argument("--host", metavar="HOST", help="of this host only (or @tag)")
            made.add_argument(
                "--state",
                choices=[state.value for state in RunState],
                metavar="STATE",
                help=f"one of {', '.join(RunState)}",
            )
    made = add("logs", "show", "logs", "a run's logs")
    made.add_argument("run_id", metavar="RUN")
    made.add_argument("stage", metavar="STAGE", nargs="?")
    made.add_argument("--follow", action="store_true", help="go on as it grows")
    made = add("plan", "show", "plan", "what a push of REF would do, and why")
    made.add_argument("repo", metavar="REPO")
    made.add_argument("ref", metavar="REF")
    made.add_argument("--against", metavar="REF", help="compare with that ref instead of with what is deployed")
    _listing(made)
    made = add("judge", "show", "judge", "how toto would judge a TAP output")
    made.add_argument("file", metavar="FILE", nargs="?", help="standard input where none is named")
    made.add_argument("--exit", type=int, default=0, metavar="N", help="exit code of the test (0)")
    _listing(made)

    made = add("rebuild", "act", "rebuild", "build a host's release again, and take it up the whole ladder")
    made.add_argument("host", metavar="HOST")
    made.add_argument("--ref", help="branch, tag or commit (the deployed branch)")
    _why(made)
    _forcing(made)
    _following(made)
    made = add("rollback", "act", "rollback", "return a host to an earlier generation, hold it, reject what it leaves")
    made.add_argument("host", metavar="HOST")
    made.add_argument("--to", type=_at_least(0), metavar="GENERATION", help="not the newest good one before this")
    _why(made)
    _following(made)
    made = add("verify", "act", "verify", "smoke and post-switch tests now; changes nothing")
    made.add_argument("host", metavar="HOST")
    _following(made)
    made = add("retry", "act", "retry", "a new run of the same commit, after failed or error")
    made.add_argument("run_id", metavar="RUN")
    _why(made)
    _forcing(made)
    _following(made)
    made = add("cancel", "act", "cancel", "stop a run that has not begun to change its target")
    made.add_argument("run_id", metavar="RUN")
    _following(made)
    made = add("follow", "act", "follow", "show a push or a run as it goes on, to its end")
    made.add_argument("id", metavar="PUSH|RUN")
    _listing(made)
    made = add("hold", "act", "hold", "activate nothing on these hosts")
    made.add_argument("hosts", metavar="HOST", nargs="+")
    _why(made, required=True)
    _listing(made)
    made = add("unhold", "act", "unhold", "end a hold")
    made.add_argument("hosts", metavar="HOST", nargs="+")
    _why(made)
    _listing(made)
    made = add(
        "update", "act", "update", "resolve the hosts' packages anew, and take the new locks up the whole ladder"
    )
    made.add_argument("hosts", metavar="HOST", nargs="+")
    _why(made)
    _following(made)

    made = add("worker", "serve", "worker", "take jobs from a queue")
    made.add_argument("queues", metavar="QUEUE", nargs="+")
    made.add_argument("--burst", action="store_true", help="end when the queue is empty")
    made = add("reconcile", "serve", "reconcile", "compare database, refs, spool and queues, and repair")
    made.add_argument("--follow", action="store_true", help="go on, every few seconds")
    config = commands.add_parser("config", help="settings").add_subparsers(
        dest="config_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    _listing(add("explain", "show", "config_explain", "every setting, and where it comes from", config))
    hook = commands.add_parser("hook", description="what git's hooks call").add_subparsers(
        dest="hook_command", required=True, parser_class=Parser
    )
    add("pre-receive", "hook", "pre_receive", "the second half of the hook", hook)
    return top


def version() -> str:
    """Toto's version."""
    from importlib.metadata import version as of

    return of("toto")


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings that the command line overrides."""
    return {key: getattr(arguments, key, None) for key in ("port", "workers")}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except TotoError as error:
        return _told(error, arguments)
    except KeyboardInterrupt:
        print("toto: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        place = str(error.filename or "")
        return _told(Trouble(error.strerror or str(error), where=place, mend="see its owner and its disk"), arguments)
    except Exception as broken:  # noqa: BLE001 - the last door: a person gets a sentence, --debug the traceback
        what = f"toto itself broke: {type(broken).__name__}: {' '.join(str(broken).split())}"
        return _told(Trouble(what, mend="`--debug` shows where"), arguments)


def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.data, overrides(arguments))
    module, function = arguments.run
    try:
        code = _command(module, function)(config, arguments)
        sys.stdout.flush()
        return code
    finally:
        if os.geteuid() == 0:
            from server.core.privileges import give_back

            give_back(config)


def _command(module: str, function: str) -> Run:
    """A command's function; its module is imported only now, so that quick commands stay quick."""
    from importlib import import_module

    found: Run = getattr(import_module(f"server.commands.{module}"), function)
    return found


def _told(error: TotoError, arguments: argparse.Namespace) -> int:
    """Tell an error in one line, or in one for each fault; returns its exit code."""
    if arguments.debug:
        traceback.print_exc()
    if getattr(arguments, "json", False):
        print(json.dumps({"error": error.what, "where": error.where, "mend": error.mend}, ensure_ascii=False))
    for line in str(error).splitlines():
        print(f"toto: {line}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
