"""Bringing a rehearsed release to a target: the stages `test` and `switch`."""

from __future__ import annotations

from deploy.backend import ReleaseLike, TargetBackend
from server.core.errors import TargetTrouble
from server.core.recorder import StageLog

CLOCK_SECONDS = 300
"""How far a target's clock may be off before orders, which expire, stop making sense."""


def prepare(
    target: TargetBackend, run_id: str, release: ReleaseLike, generation: int, tests_bundle: bytes, log: StageLog, *,
    over_drift: bool = False,
) -> None:  # fmt: skip
    """Look at the target, bring the release and its tests there, and record the way back; nothing is changed yet.

    Args:
        target: The machine.
        run_id: The run; the target keeps its record under this name.
        release: What was rehearsed.
        generation: The number it gets there once it is confirmed.
        tests_bundle: The host's tests (`host_tests.bundle`).
        log: The stage.
        over_drift: A person said to deploy over changes made by hand.

    Raises:
        TargetTrouble: It cannot be reached, or is not fit for it; `Drift` where it is not what toto put there.
        Refused: The release cannot be installed there.
    """
    facts = target.facts()
    runs = f"generation {facts.generation}" if facts.generation else "what toto found there"
    log.line(f"{facts.host}: {facts.suite} {facts.architecture}, runs {runs}, {facts.free / 1e9:.1f} GB free")
    if abs(facts.clock) > CLOCK_SECONDS:
        raise TargetTrouble(
            f"its clock is off by {facts.clock:.0f} s", where=facts.host, mend="set it; orders expire by it"
        )
    target.send(release, tests_bundle, log)
    log.note(target.preflight(run_id, release.id, generation, over_drift=over_drift, log=log).summary)


def activate(target: TargetBackend, run_id: str, log: StageLog) -> None:
    """Change the target, provisionally: a dead-man there undoes what nobody confirms.

    Raises:
        ActivationFailed: It did not work; a rollback comes next.
        Unknown: The target fell silent, and its record could not be read in time.
    """
    target.activate(run_id, log)


def switch(target: TargetBackend, run_id: str, log: StageLog) -> None:
    """Make it permanent, over a new connection.

    Raises:
        ActivationFailed: The target undid it meanwhile.
        Unknown: The target fell silent, and its record could not be read in time.
    """
    target.confirm(run_id, log)
    log.line("confirmed: the target's dead-man is disarmed")
