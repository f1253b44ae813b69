"""The second half of pre-receive: evaluates the fleet of each pushed branch and tells all that is wrong with it.

Runs before git has taken anything: the pushed objects are in git's quarantine, which its environment points to. Only
the fleet's own files are read here; nothing that was pushed is run or imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hooks import described
from host_tests import suite
from server.core import fleet, repos
from server.core.config import Config
from server.core.errors import Fault
from server.core.fleet_reader import suggest
from server.core.fleet_values import show
from server.core.model import ZERO

REFUSED = 65
"""Exit code of `toto hook pre-receive` for a refusal with reasons (EX_DATAERR of sysexits.h). Any other than this and 0
means that the check itself broke."""
OPTIONS = ("toto.skip", "toto.plan", "toto.rehearse", "toto.follow", "toto.again")
ONE_OF = OPTIONS[:3]
HEADS, TAGS = "refs/heads/", "refs/tags/"
MOST_SHOWN = 100
"""Faults of one branch that are printed at the most."""


@dataclass(frozen=True)
class Update:
    """One line of pre-receive's input."""

    old: str
    new: str
    ref: str

    @property
    def name(self) -> str:
        """The ref as people call it."""
        return self.ref.removeprefix(HEADS) if self.ref.startswith(HEADS) else self.ref.removeprefix("refs/")


@dataclass
class _Said:
    """What will be printed, and whether the push is refused."""

    lines: list[str] = field(default_factory=list)
    refused: bool = False

    def refuse(self, *lines: str) -> None:
        self.lines += lines
        self.refused = True


def pre_receive(config: Config, repo_path: Path, lines: list[str], options: list[str]) -> tuple[list[str], int]:
    """Check a push.

    Args:
        config: The settings.
        repo_path: The bare repository.
        lines: Pre-receive's input: `OLD NEW REF` for each ref.
        options: The push options.

    Returns:
        What to print in the pusher's terminal, and the exit code: 0 or `REFUSED`.

    Raises:
        Trouble: The repository could not be read: nothing is known of the push.
    """
    del config  # so far no setting changes what is valid
    updates = [Update(*line.split(" ", 2)) for line in map(str.strip, lines) if line]
    said = _Said()
    _check_options(said, options)
    deployed = repos.deployed_branch(repo_path)
    paths: set[str] = set()
    for update in updates:
        if update.new == ZERO:
            _check_deletion(said, update, deployed)
        elif update.ref.startswith(HEADS):
            paths |= _check_branch(said, update, deployed, repo_path)
    if said.refused:
        several = f", not one of its {len(updates)} refs," if len(updates) > 1 else ""
        said.lines.append(f"toto: nothing of this push{several} was taken; correct it and push again")
        return said.lines, REFUSED
    _remember(repo_path, paths)
    return said.lines, 0


def _check_options(said: _Said, options: Sequence[str]) -> None:
    for option in options:
        if option.partition(".")[0] == "toto" and option not in OPTIONS:
            hint = suggest(option, OPTIONS, f"; there are {', '.join(OPTIONS)}")
            said.refuse(f"toto: unknown push option {show(option)}{hint}")
    chosen = sorted(set(options) & set(ONE_OF))
    if len(chosen) > 1:
        said.refuse(f"toto: the push options {' and '.join(chosen)} exclude each other; give one")


def _check_deletion(said: _Said, update: Update, deployed: str) -> None:
    if update.ref == f"{HEADS}{deployed}":
        said.refuse(
            f"toto: {deployed} is the branch that is deployed: it cannot be deleted, its hosts need a description",
            "toto: to deploy another branch: toto repo add NAME --branch BRANCH",
        )


def _check_branch(said: _Said, update: Update, deployed: str, repo_path: Path) -> set[str]:
    """Check the fleet of one branch; the paths that its description is made of."""
    files = repos.tree(repo_path, update.new)
    if fleet.FLEET not in files.entries and update.name != deployed:
        # No fleet, and none is wanted of such a branch; post-receive says so.
        return {fleet.FLEET}
    checked = fleet.check(files)
    wrong, hints = suite.faults(files, checked.names)
    faults = sorted({*checked.faults, *wrong})
    if faults:
        said.refuse(*_told(update.name, faults))
    said.lines += [f"toto: hint: {hint}" for hint in hints]
    return set(checked.described)


def _told(name: str, faults: Sequence[Fault]) -> Iterable[str]:
    amount = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    yield f"toto: {name} is refused, for {amount} in the fleet's files:"
    yield from (str(fault) for fault in faults[:MOST_SHOWN])
    if len(faults) > MOST_SHOWN:
        yield f"… and {len(faults) - MOST_SHOWN} more"


def _remember(repo_path: Path, paths: set[str]) -> None:
    """Add to the list of described paths. The first time, those of branches that were there before it."""
    if not described.listed(repo_path):
        for commit in repos.heads(repo_path).values():
            paths |= fleet.check(repos.tree(repo_path, commit)).described
    described.add(repo_path, paths)
