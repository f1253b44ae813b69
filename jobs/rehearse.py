"""The stages of a rehearsal, all in one VM: boot, tests without a network, tests with one, and the way back and forth.

Each returns when it has passed, and raises `Refused` (the engineer's matter) or `Trouble` (the operator's) otherwise.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from deploy import enrol, signing
from deploy.backend import ReleaseLike, RollbackFailed
from deploy.debian import DebianTarget
from deploy.signing import ReleaseKeys
from host_tests import runner
from host_tests.bundle import bundle
from host_tests.stock_checks import stock_labels
from host_tests.suite_values import Suite
from jobs.machine import BootFailed, Machine
from server.core.errors import Refused, TargetTrouble
from server.core.recorder import StageLog
from server.core.states import StageName

TESTS = "/run/toto-tests"
"""Where the tests lie in the VM; in memory, so that a full disk is the tests' own doing."""
ACT = "/usr/local/sbin/toto-act"
SETTLE_SECONDS = 60.0
"""How long units that still start after SSH answers are waited for."""


def boot(vm: Machine, suite: Suite, log: StageLog) -> None:
    """Wait until the VM answers SSH and its units have settled, bring the tests in, and run the stock checks.

    Raises:
        BootFailed: Its kernel panicked, it went off, or SSH did not answer in time.
        ChecksFailed: A stock check said no: a unit failed, say.
        VmTrouble: The VM broke, or the boot was cancelled.
    """
    try:
        seconds = vm.wait_ready(vm.limits.boot, log.stopped)
    except BootFailed:
        log.line("the end of the VM's console:")
        log.write(vm.console.tail().encode() + b"\n")
        raise
    log.note(f"SSH after {seconds:.0f} s")
    log.line(f"SSH answered after {seconds:.1f} s")
    _settle(vm, log)
    bring_tests(vm, suite, log)
    _tests(vm, suite, StageName.BOOT, log, expected=stock_labels(), only="--stock-only")


def bring_tests(vm: Machine, suite: Suite, log: StageLog) -> None:
    """Put the host's tests, and what runs them, into the VM."""
    put = f"rm -rf {TESTS} && mkdir -p {TESTS} && tar -x -f - -C {TESTS} --no-same-owner"
    vm.run(put, timeout=120, data=bundle(suite), check=True, stop=log.stopped)


def _settle(vm: Machine, log: StageLog) -> None:
    """Wait for units that still start; one that waits for what a rehearsal lacks must not hold up everything."""
    asked = f"timeout {SETTLE_SECONDS:g} systemctl is-system-running --wait"
    state = vm.run(asked, timeout=SETTLE_SECONDS + 30, stop=log.stopped).text
    log.line(f"the system is {state or 'still starting'}")
    if state in ("", "starting", "initializing"):
        jobs = vm.run("systemctl list-jobs --no-pager --no-legend", timeout=30, stop=log.stopped).text
        log.line(f"after {SETTLE_SECONDS:g} s these still wait, and are not waited for any longer:\n{jobs}")


def no_internet(vm: Machine, suite: Suite, log: StageLog) -> None:
    """The host's tests of that stage, with no network but `lo`.

    Raises:
        ChecksFailed: A test said no.
        VmTrouble: The VM broke.
    """
    vm.go_offline()
    _own_tests(vm, suite, StageName.NO_INTERNET, log)


def with_internet(vm: Machine, suite: Suite, log: StageLog) -> None:
    """The same running VM, now with a way out; it keeps it until a later stage cuts it.

    Raises:
        ChecksFailed: A test said no.
        VmTrouble: The VM broke, or the way out could not be made.
    """
    began = time.monotonic()
    vm.go_online()
    log.line(f"the VM has a way out, after {time.monotonic() - began:.1f} s")
    _own_tests(vm, suite, StageName.WITH_INTERNET, log)


def upgrade(vm: Machine, release: ReleaseLike, last_good: ReleaseLike, suite: Suite, log: StageLog) -> None:
    """The target's own script in the VM: back to the last good release, stock checks, forward again, tests again.

    The VM's image holds `release` installed; the script is told so, and believes keys that live as long as this stage.

    Raises:
        Refused: The host cannot go back, or not forward again.
        ChecksFailed: A check said no.
        Trouble: The VM broke, or the script could not be run.
    """
    vm.go_offline()
    try:
        target = _enrolled(vm, signing.ephemeral_keys(vm.scratch / "release-keys"), log)
        _already_there(vm, target, release, suite, log)
        log.line(f"--- back to the last good release, {last_good.id[:12]}")
        _change(target, "rehearse-back", last_good, 2, suite, log)
        seen = _tests(vm, suite, StageName.UPGRADE, log, expected=stock_labels(), only="--stock-only")
        log.line(f"--- forward again, to {release.id[:12]}")
        _change(target, "rehearse-forward", release, 3, suite, log)
        again, number = StageName.NO_INTERNET, 1 + seen.passed + seen.failed + seen.skipped + seen.todo
        _tests(vm, suite, StageName.UPGRADE, log, tests=again, expected=suite.expected(again), first_number=number)
    except RollbackFailed as error:
        raise Refused(f"the release cannot be left again: {error.what}", where="the VM", mend=error.mend) from error
    except TargetTrouble:
        vm.check_alive(wait=1.0)
        raise
    log.note(f"back to {last_good.id[:12]} and forward")


def _enrolled(vm: Machine, keys: ReleaseKeys, log: StageLog) -> DebianTarget:
    """The VM as a target: the script and whom it believes, as `toto host enrol` puts them there, less the account."""
    script = enrol.install_script(keys, vm.name)
    vm.run("exec sh", timeout=120, data=script.encode(), check=True, stop=log.stopped)
    return DebianTarget(vm.name, vm.ssh, keys, vm.limits, command=ACT)


def _already_there(vm: Machine, target: DebianTarget, release: ReleaseLike, suite: Suite, log: StageLog) -> None:
    """Tell the script that the image's release is what runs: the state in which it would leave a host."""
    target.send(release, bundle(suite), log)
    vm.run(f"echo {release.id} 1 rehearse-image >/var/lib/toto/current", timeout=30, check=True)


def _change(
    target: DebianTarget, run_id: str, release: ReleaseLike, generation: int, suite: Suite, log: StageLog
) -> None:
    """What a deploy does, without its tests. What the host's tests changed in the VM is no drift that anybody minds."""
    target.send(release, bundle(suite), log)
    target.preflight(run_id, release.id, generation, over_drift=True, log=log)
    target.activate(run_id, log)
    target.confirm(run_id, log)


def _own_tests(vm: Machine, suite: Suite, stage: StageName, log: StageLog) -> None:
    """A stage's own tests, and the stock checks only where there are none, so that no stage passes on nothing.

    They have just run at boot, and cost ten seconds a time under emulation.
    """
    expected = suite.expected(stage, stock=False)
    if expected:
        _tests(vm, suite, stage, log, expected=expected, only="--no-stock")
    else:
        _tests(vm, suite, stage, log, expected=stock_labels(), only="--stock-only")


def _tests(
    vm: Machine,
    suite: Suite,
    stage: StageName,
    log: StageLog,
    *,
    expected: Sequence[str],
    only: str = "",
    tests: StageName | None = None,
    first_number: int = 1,
) -> runner.StageVerdict:
    """Run tests in the VM and judge them; returns a verdict that is ok.

    Raises:
        ChecksFailed: They said no.
        Refused: The VM panicked or went off under them.
        VmTrouble: The connection was lost.
    """
    of, nonce = tests or stage, secrets.token_hex(8)
    command = (
        f"exec {TESTS}/run-tests --stage {of} --host {vm.name} --nonce {nonce} --test-timeout {vm.limits.test:g} "
        f"--output-limit {vm.limits.output} --now {int(time.time())} {only}"
    )
    verdict = runner.run_stage(
        vm.run, command, stage, expected, log, nonce=nonce, timeout=vm.limits.tests, host=vm.name, tests=of,
        first_number=first_number,
    )  # fmt: skip
    runner.raise_for(verdict)
    return verdict
