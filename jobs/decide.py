"""What a commit means for one host: the rule, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass

from server.core.model import Host, PlanRow, Run
from server.core.states import Action


@dataclass(frozen=True)
class Known:
    """What toto knows of a host when it decides.

    Attributes:
        host: The host as the database has it; None where toto never met it.
        rejected: Why a release of the wanted identity was rejected there; None where none was.
        failed: The run in which the wanted identity failed in the VM with the wanted tests; None where it did not.
    """

    host: Host | None
    rejected: str | None = None
    failed: Run | None = None


def decide(name: str, identity: str, tests: str, known: Known, *, deploys: bool, again: bool) -> PlanRow:
    """What is to do for a host that a commit wants at `identity`, with tests of digest `tests`.

    Args:
        name: The host.
        identity: Digest of what the commit wants it to be.
        tests: Digest of the tests that the commit has for it.
        known: What toto knows of it.
        deploys: Whether the commit is one of the deployed branch.
        again: Whether somebody wants what was rejected or failed tried again.
    """
    host = known.host
    running = host.identity if host else None
    changed = identity != running
    tested = host.tests if host else None

    def row(action: Action, reason: str) -> PlanRow:
        return PlanRow(name, changed, action, reason, identity, tests)

    if not changed and tests == tested:
        return row(Action.NONE, f"{name} runs this already, with these tests")
    what = _what(name, running, changed)
    if known.failed is not None and not again:
        run = known.failed
        return row(
            Action.NONE,
            f"{what}, and the same with the same tests failed in run {run.id} ({run.reason}): "
            "push a change, or try it again with `--again`",
        )
    if not deploys:
        return row(Action.REHEARSE, f"{what}; this branch is rehearsed, not deployed")
    if changed and known.rejected is not None and not again:
        return row(Action.HELD, f"{what}, and was rejected: {known.rejected}")
    if host is not None and host.held_by is not None:
        return row(Action.HELD, f"{what}; {name} is held by {host.held_by}: {host.held_why}")
    return row(Action.DEPLOY if changed else Action.TEST, what)


def _what(name: str, running: str | None, changed: bool) -> str:
    if running is None:
        return f"toto has not deployed {name} yet"
    return f"the definition of {name} changed" if changed else f"only tests of {name} changed"
