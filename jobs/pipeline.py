"""The whole story of a run: build, rehearse, deploy, and back again where that fails.

`rehearse_run` is the build queue's half, `deploy_run` the deploy queue's. Each stage is opened by `job.record.stage`,
which turns what is raised out of it into the stage's state; how the run ends follows in `jobs.ending`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from deploy import promote, rollback, rollout, verify
from deploy.backend import RollbackFailed, TargetBackend, backend
from host_tests.bundle import bundle
from jobs import build, ending, rehearse
from jobs.images.debian import Image
from jobs.job import Job
from jobs.machine import machine
from server.core.errors import Refused, Trouble, Unknown
from server.core.releases import ReleaseFiles
from server.core.states import Action, Cause, Force, RunState, StageName


def rehearse_run(job: Job) -> None:
    """Build the run's release and rehearse it in one VM; then it waits for its deploy, or ends."""
    with ending.of(job):
        if job.run.cause is not Cause.UPDATE and build.settled(job):
            ending.finish(job, RunState.NO_OP, "the host runs this already, with these tests")
            return
        with job.record.stage(StageName.BUILD) as log:
            release = build.release(job, log)
            image = None if job.forced(Force.UNREHEARSED) else build.image(job, release, log)
        if image is None:
            for name in (StageName.BOOT, StageName.NO_INTERNET, StageName.WITH_INTERNET, StageName.UPGRADE):
                job.record.skip(name, _forced(job, Force.UNREHEARSED))
        else:
            _rehearse(job, release, image)
        _hand_over(job)


def _rehearse(job: Job, release: ReleaseFiles, image: Image) -> None:
    """One VM for all stages; whatever happens, it is gone afterwards."""
    with contextlib.ExitStack() as stack:
        with job.record.stage(StageName.BOOT) as log:
            folder = stack.enter_context(build.scratch(job))
            vm = stack.enter_context(machine(job.config, image, job.entry.name, job.limits, folder, log))
            rehearse.boot(vm, job.suite, log)
        with job.record.stage(StageName.NO_INTERNET) as log:
            rehearse.no_internet(vm, job.suite, log)
        with job.record.stage(StageName.WITH_INTERNET) as log:
            rehearse.with_internet(vm, job.suite, log)
        last_good = build.last_good(job)
        if last_good is None:
            job.record.skip(StageName.UPGRADE, "the host has no last good release yet")
        elif last_good.id == release.id:
            job.record.skip(StageName.UPGRADE, "the host runs this release")
        elif job.forced(Force.ONE_WAY):
            job.record.skip(StageName.UPGRADE, _forced(job, Force.ONE_WAY))
        else:
            with job.record.stage(StageName.UPGRADE) as log:
                rehearse.upgrade(vm, release, last_good, job.suite, log)


def _forced(job: Job, force: Force) -> str:
    """What a person forced, with name and reason: it stands beside the stage for good."""
    return f"forced by {job.run.actor} (--{force}): {job.run.why}"


def _hand_over(job: Job) -> None:
    """Rehearsed: wait for the deploy, or end where none was asked for."""
    host = job.host
    if job.run.action is Action.REHEARSE:
        ending.finish(job, RunState.REHEARSED, "this branch is rehearsed, not deployed")
    elif host.held_by is not None:
        ending.finish(job, RunState.HELD, f"{host.name} is held by {host.held_by}: {host.held_why}")
    else:
        ending.hand_over(job)


def deploy_run(job: Job) -> None:
    """Bring the rehearsed release to the real machine: provisional, tested, permanent, tested, kept; or undone."""
    with ending.of(job):
        target = backend(job.config, job.entry, job.limits)
        if job.run.attempt > 1 and job.run.cause is not Cause.VERIFY and _resumed(job, target):
            return
        match job.run.cause:
            case Cause.ROLLBACK:
                _roll_back_by_hand(job, target)
            case Cause.VERIFY:
                _check_in_place(job, target)
                ending.finish(job, RunState.GOOD, None, generation=job.host.generation)
            case _:
                _deploy(job, target)


def _resumed(job: Job, target: TargetBackend) -> bool:
    """Go on with a deploy whose worker died or whose target fell silent, from the target's own record.

    False where that record says that nothing was begun: then it simply happens.
    """
    record = ending.own_record(job, target)
    if not record.began:
        return False
    job.record.stoppable = False
    confirmed = record.state == "confirmed"
    if job.run.cause is Cause.ROLLBACK:
        _resume_by_hand(job, target, confirmed=confirmed)
    elif confirmed and job.run.generation is not None:
        _climb(job, target, lambda: _prove(job, target, build.opened(job), job.run.generation or 0))
    else:
        _roll_back(job, target, Trouble(f"toto was interrupted; the target's record says {record.state} {record.text}"))
    return True


def _deploy(job: Job, target: TargetBackend) -> None:
    host = job.host
    if host.held_by is not None:
        ending.finish(job, RunState.HELD, f"{host.name} is held by {host.held_by}: {host.held_why}")
    elif job.run.cause is Cause.PUSH and host.wanted not in (None, job.run.identity):
        ending.finish(job, RunState.SUPERSEDED, "a newer push wants something else of this host")
    elif job.run.release == host.release:
        for name in (StageName.TEST, StageName.SWITCH, StageName.PROMOTE):
            if job.has(name):
                job.record.skip(name, f"generation {host.generation} is this release already")
        _check_in_place(job, target)
        ending.tested(job)
    else:
        _activate(job, target, build.opened(job))


def _check_in_place(job: Job, target: TargetBackend) -> None:
    """Smoke and post-switch tests on what runs there; nothing is changed."""
    with job.record.stage(StageName.SMOKE) as log:
        verify.check(target, job.run.id, StageName.SMOKE, job.suite, log)
    with job.record.stage(StageName.POST_SWITCH) as log:
        verify.check(target, job.run.id, StageName.POST_SWITCH, job.suite, log)


def _activate(job: Job, target: TargetBackend, release: ReleaseFiles) -> None:
    """Up the ladder, from the provisional activation to the last good generation."""
    number = ending.next_number(job)
    _climb(job, target, lambda: _ladder(job, target, release, number))


def _climb(job: Job, target: TargetBackend, steps: Callable[[], None]) -> None:
    """From the first change on, every failure goes the whole way back."""
    try:
        steps()
    except Unknown:
        raise
    except (Refused, Trouble) as error:
        if job.record.stoppable:
            raise  # nothing was changed
        _roll_back(job, target, error)


def _ladder(job: Job, target: TargetBackend, release: ReleaseFiles, number: int) -> None:
    with job.record.stage(StageName.TEST) as log:
        over_drift = job.forced(Force.OVER_DRIFT)
        rollout.prepare(target, job.run.id, release, number, bundle(job.suite), log, over_drift=over_drift)
        ending.began(job, release, number)
        rollout.activate(target, job.run.id, log)
    with job.record.stage(StageName.SMOKE) as log:
        verify.check(target, job.run.id, StageName.SMOKE, job.suite, log)
    with job.record.stage(StageName.SWITCH) as log:
        rollout.switch(target, job.run.id, log)
    _prove(job, target, release, number)


def _prove(job: Job, target: TargetBackend, release: ReleaseFiles, number: int) -> None:
    """After the switch: what the tests say decides whether the generation is kept."""
    with job.record.stage(StageName.POST_SWITCH) as log:
        verify.check(target, job.run.id, StageName.POST_SWITCH, job.suite, log)
    with job.record.stage(StageName.PROMOTE) as log:
        promote.promote(job.store, job.run, release, number, log)
    ending.finish(job, RunState.GOOD, None, generation=number)


def _roll_back(job: Job, target: TargetBackend, error: Refused | Trouble) -> None:
    """Return to the recorded generation, and prove that it is good."""
    with ending.rolling_back(job, error):
        with job.record.stage(StageName.ROLLBACK) as log:
            rollback.undo(target, job.run.id, log)
        with job.record.stage(StageName.ROLLBACK_CHECK) as log:
            rollback.check(target, job.run.id, job.suite_before(), log)


def _roll_back_by_hand(job: Job, target: TargetBackend) -> None:
    """A person's way back to an earlier generation: under the same dead-man, checked the same way."""
    with ending.by_hand(job):
        with job.record.stage(StageName.ROLLBACK) as log:
            goal, suite = build.goal(job), job.suite_of_goal()
            rollback.restore(target, job.run.id, goal, job.run.target_generation or 0, suite, log)
        with job.record.stage(StageName.ROLLBACK_CHECK) as log:
            rollback.check(target, job.run.id, job.suite_of_goal(), log)


def _resume_by_hand(job: Job, target: TargetBackend, *, confirmed: bool) -> None:
    """An interrupted rollback by hand: proved where the target had confirmed it, else taken back and told."""
    with ending.by_hand(job):
        if not confirmed:
            with job.record.stage(StageName.ROLLBACK) as log:
                rollback.undo(target, job.run.id, log)
            raise RollbackFailed("it was interrupted; what ran before runs again", where=job.run.host,
                                 mend=f"`toto rollback {job.run.host}` tries it again")  # fmt: skip
        with job.record.stage(StageName.ROLLBACK_CHECK) as log:
            rollback.check(target, job.run.id, job.suite_of_goal(), log)
