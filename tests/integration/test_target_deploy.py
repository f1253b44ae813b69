"""A real Debian target is changed and taken back: good ways, and every bad one that a machine can have.

One target serves the whole module; each test leaves it at a confirmed release, or as it was found.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import answers, manifest, rollback, rollout, verify
from deploy.backend import NONE, ActivationFailed, Drift, backend
from deploy.debian import DebianTarget
from host_tests.bundle import bundle
from host_tests.suite_values import Suite, TestFile
from server.core.config import Config, Limits
from server.core.errors import ChecksFailed, Refused, TargetTrouble
from server.core.states import StageName
from tests.targets import Builder, Log, Machine, TinyRelease, machine, until

pytestmark = pytest.mark.target

SITE = b"#!/bin/sh\necho 1..1\ngrep -q release /etc/toto-site.conf && echo 'ok 1 - site' || echo 'not ok 1 - site'\n"
NO = b"#!/bin/sh\necho 1..1\necho 'not ok 1 - the page is blank'\n"


def suite(test: bytes = SITE) -> Suite:
    stages = (StageName.SMOKE, StageName.POST_SWITCH)
    return Suite("web", tuple(TestFile(s, "host", "site", f"host_tests/web/{s}/site", test, True) for s in stages))


@dataclass
class Bench:
    """The target, its backend, and releases for it."""

    machine: Machine
    target: DebianTarget
    builder: Builder
    one: TinyRelease
    numbers: Iterator[int]

    def number(self) -> str:
        return str(next(self.numbers))

    def prepared(
        self, release: TinyRelease, *, generation: int = 1, target: DebianTarget | None = None, **how: bool
    ) -> str:
        run = self.number()
        rollout.prepare(target or self.target, run, release, generation, bundle(suite()), Log(), **how)
        return run

    def deployed(self, release: TinyRelease, generation: int = 1, **how: bool) -> str:
        run = self.prepared(release, generation=generation, **how)
        rollout.activate(self.target, run, Log())
        rollout.switch(self.target, run, Log())
        return run

    def packages(self) -> set[str]:
        return set(
            self.machine.root(
                "dpkg-query -W -f='${db:Status-Abbrev}${Package}=${Version}\\n' | sed -n 's/^ii *//p'"
            ).split()
        )

    def ours(self) -> set[str]:
        return {package for package in self.packages() if package.startswith("toto-")}

    def state(self, run: str) -> str:
        return self.machine.root(
            f"sed -n 's/^state=\\([a-z-]*\\).*/\\1/p' /var/lib/toto/runs/{run}/state 2>/dev/null || :"
        )

    def found(self) -> None:
        """Bring the machine back to generation 0."""
        if self.target.facts().release != NONE:
            rollback.restore(self.target, self.number(), None, 0, Suite("web", ()), Log(StageName.ROLLBACK))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("targets")
    config = Config(data=folder / "data")
    with machine(folder) as made:
        made.enrol(config)
        target = backend(config, made.entry, Limits(activation=60, tests=60))
        assert isinstance(target, DebianTarget)
        builder = Builder(folder / "builder")
        one = builder.release(builder.package("toto-demo", "1.0"), builder.package("toto-gone", "1.0"))
        yield Bench(made, target, builder, one, itertools.count(1))


@pytest.fixture
def bench(whole: Bench) -> Bench:
    """The target with release `one` confirmed on it, untouched by hand."""
    facts = whole.target.facts()
    if facts.pending is not None:  # left by a test that failed
        whole.target.undo(facts.pending, Log())
    if facts.release != whole.one.id or whole.target.drift():
        whole.deployed(whole.one, over_drift=True)
    return whole


ONE = {"toto-demo=1.0", "toto-gone=1.0", "toto-host-web=1"}


def two(bench: Bench, **how: Any) -> TinyRelease:
    builder = bench.builder
    return builder.release(builder.package("toto-demo", "2.0"), builder.package("toto-new", "1.0"), **how)


def test_whole_good_path_and_the_way_back_to_the_machine_as_found(whole: Bench) -> None:
    whole.found()
    before = (
        whole.packages(),
        whole.machine.root("dpkg --get-selections; apt-mark showmanual; ls -R /etc | grep -v toto"),
    )
    builder = whole.builder
    release = builder.release(builder.package("toto-demo", "1.0"), builder.package("toto-gone", "1.0"))
    run, log = whole.number(), Log()
    rollout.prepare(whole.target, run, release, 1, bundle(suite()), log)
    assert log.notes == ["0 changed, 3 added, 0 removed"]
    assert whole.packages() == before[0], "a preflight changes nothing"
    rollout.activate(whole.target, run, log)
    assert whole.target.facts().pending == run
    verify.check(whole.target, run, StageName.SMOKE, suite(), log)
    rollout.switch(whole.target, run, log)
    facts = whole.target.facts()
    assert (facts.release, facts.generation, facts.pending) == (release.id, 1, None)
    assert {row.description for row in log.checks} >= {"site"}
    assert b"Unpacking toto-demo (1.0)" in log.written
    rollback.undo(whole.target, run, log)
    rollback.check(whole.target, run, None, Log(StageName.ROLLBACK_CHECK))
    assert (
        whole.packages(),
        whole.machine.root("dpkg --get-selections; apt-mark showmanual; ls -R /etc | grep -v toto"),
    ) == before
    assert whole.target.facts().generation == 0
    assert "toto" not in whole.machine.root("systemctl list-timers --all --plain --no-legend")


def test_dropped_packages_go_and_come_back_and_strangers_stay(bench: Bench) -> None:
    stranger = bench.builder.package("toto-stranger", "1.0")
    (bench.machine.folder / "root/root/s.deb").write_bytes(stranger.read_bytes())
    bench.machine.root("dpkg -i /root/s.deb")
    release = two(bench)
    run = bench.deployed(release, 2)
    assert bench.ours() == {
        "toto-demo=2.0",
        "toto-new=1.0",
        f"toto-host-web={bench.builder.number}",
        "toto-stranger=1.0",
    }
    rollback.undo(bench.target, run, Log())
    assert bench.ours() == {*ONE, "toto-stranger=1.0"} and bench.target.facts().generation == 1
    rollback.undo(bench.target, run, Log())  # once more is no fault
    assert bench.machine.root("ls /etc/toto-new.conf", check=False) == "", (
        "what only the failed release brought is purged"
    )
    bench.machine.root("dpkg --purge toto-stranger")


def test_second_release_sends_only_what_is_new_and_a_kept_one_nothing(bench: Bench) -> None:
    log = Log()
    shared = bench.builder.release(bench.builder.package("toto-demo", "1.0"), bench.builder.package("toto-new", "1.0"))
    bench.target.send(shared, bundle(suite()), log)
    assert log.lines[0].startswith("sending") and "are on web already" in log.lines[0]
    bench.target.send(shared, bundle(suite()), log)
    assert log.lines[1].endswith("is on web already")


def test_failing_smoke_returns_to_the_old_release(bench: Bench) -> None:
    run = bench.prepared(two(bench), generation=2)
    rollout.activate(bench.target, run, Log())
    log = Log(StageName.SMOKE)
    with pytest.raises(ChecksFailed, match="the page is blank"):
        verify.check(bench.target, run, StageName.SMOKE, suite(NO), log)
    rollback.undo(bench.target, run, Log())
    check = Log(StageName.ROLLBACK_CHECK)
    rollback.check(bench.target, run, suite(), check)
    assert {row.stage for row in check.checks} == {StageName.ROLLBACK_CHECK} and all(row.ok for row in check.checks)
    assert bench.ours() == ONE


def test_postinst_that_fails(bench: Bench) -> None:
    run, log = bench.prepared(two(bench, postinst="echo no such luck; exit 1"), generation=2), Log()
    with pytest.raises(ActivationFailed, match="rc=100"):
        rollout.activate(bench.target, run, log)
    assert b"no such luck" in log.written
    rollback.undo(bench.target, run, Log())
    assert bench.ours() == ONE and bench.target.drift() == ()


def test_postinst_that_hangs_is_ended_and_not_run_again(bench: Bench) -> None:
    hasty = dataclasses.replace(bench.target, limits=Limits(activation=3, tests=60))
    run = bench.prepared(two(bench, postinst="echo x >>/root/hung; sleep 1000"), generation=2, target=hasty)
    with pytest.raises(ActivationFailed, match="timeout"):
        hasty.activate(run, Log())
    rollback.undo(bench.target, run, Log())
    assert bench.ours() == ONE
    assert bench.machine.root("wc -l </root/hung; rm /root/hung") == "1"
    assert bench.machine.root("ps ax | grep -c '[s]leep 1000'", check=False) == "0"


def test_link_cut_in_the_middle_of_apt_is_no_verdict(bench: Bench) -> None:
    run, log = bench.prepared(two(bench, postinst="sleep 9"), generation=2), Log()

    def cut() -> None:
        until(lambda: bench.state(run) == "applying", 20, "apt begins")
        bench.machine.do("cut")
        until(lambda: bench.state(run) == "applied", 30, "apt ends by itself")
        # Whoever was connected finds the connection gone; whoever connects waits in vain for longer than it waits.
        bench.machine.root("kill -9 $(ps --ppid $(cat /run/sshd.pid) -o pid=) $(ps -u toto,sshd -o pid=)", check=False)
        time.sleep(3)
        bench.machine.do("heal")

    cutter = threading.Thread(target=cut)
    cutter.start()
    hasty = dataclasses.replace(bench.target, ssh=dataclasses.replace(bench.target.ssh, connect_timeout=2))
    rollout.activate(hasty, run, log)
    cutter.join()
    assert any("asking again" in line or "its own record decides" in line for line in log.lines)
    rollback.undo(bench.target, run, Log())
    assert bench.ours() == ONE


def test_target_that_nobody_reaches_undoes_it_alone(bench: Bench) -> None:
    alone = dataclasses.replace(bench.target, contact=2)
    run = bench.prepared(two(bench), generation=2, target=alone)
    assert alone._say("start", run).code == 0
    bench.machine.do("cut")
    try:
        until(lambda: bench.state(run) == "rolled-back", 30, "the target returns alone")
    finally:
        bench.machine.do("heal")
    assert alone.record(run).text == "why=unreached"
    rollback.undo(alone, run, Log())
    assert bench.ours() == ONE


def test_release_that_breaks_sshd_is_undone_soon(bench: Bench) -> None:
    soon = dataclasses.replace(bench.target, contact=3)
    bad = two(bench, files={"etc/ssh/sshd_config.d/toto.conf": "NoSuchWord yes\n"}, units="ssh.service")
    run, log = bench.prepared(bad, generation=2, target=soon), Log()
    with pytest.raises(ActivationFailed, match="why=unreached"):
        soon.activate(run, log)
    rollback.undo(soon, run, Log())
    assert bench.ours() == ONE and bench.machine.root("systemctl is-active ssh") == "active"


def test_reboot_between_test_and_switch(bench: Bench) -> None:
    run = bench.prepared(two(bench), generation=2)
    rollout.activate(bench.target, run, Log())
    boot = bench.target.facts().boot
    bench.machine.root("systemctl reboot")
    until(lambda: _boot(bench) not in ("", boot), 60, "it is up again")
    until(lambda: bench.state(run) == "rolled-back", 30, "the boot unit undoes it")
    with pytest.raises(ActivationFailed, match="why=boot"):
        rollout.switch(bench.target, run, Log())
    assert bench.ours() == ONE and bench.target.facts().generation == 1


def _boot(bench: Bench) -> str:
    try:
        return bench.target.facts().boot
    except TargetTrouble:
        return ""


def test_power_cut_in_the_middle_of_dpkg(bench: Bench) -> None:
    run = bench.prepared(two(bench, postinst="touch /root/middle; sleep 60"), generation=2)
    assert bench.target._say("start", run).code == 0
    until((bench.machine.folder / "root/root/middle").exists, 20, "dpkg is in the middle")
    bench.machine.do("kill")
    bench.machine.do("up")
    until(lambda: bench.state(run) == "rolled-back", 30, "the boot unit undoes it")
    bench.machine.root("rm /root/middle")
    assert bench.ours() == ONE and bench.machine.root("dpkg --audit") == ""
    rollback.check(bench.target, run, suite(), Log(StageName.ROLLBACK_CHECK))


def test_deadman_undoes_what_nobody_confirms(bench: Bench) -> None:
    quick = dataclasses.replace(bench.target, limits=Limits(activation=1, tests=1))
    order = {"activation": 20, "contact": 20, "deadman": 4, "lock": 1}
    run, release = bench.number(), two(bench)
    quick.send(release, bundle(suite()), Log())
    data = manifest.order(quick.keys, "web", "activate", {"run": run, "release": release.id, "generation": 2, **order})
    assert quick._say("preflight", run, release.id, data=data).code == 0
    assert quick._say("start", run).code == 0
    until(lambda: bench.state(run) == "rolled-back", 30, "the dead-man comes")
    assert quick.record(run).text == "why=deadman"
    with pytest.raises(ActivationFailed, match="why=deadman"):
        quick.confirm(run, Log())
    assert bench.ours() == ONE


@pytest.mark.parametrize("head_start", [0.0, 0.15, 0.3])
def test_confirmation_and_deadman_at_once_leave_one_truth(bench: Bench, head_start: float) -> None:
    release = two(bench)
    run = bench.prepared(release, generation=2)
    rollout.activate(bench.target, run, Log())
    deadman = threading.Thread(
        target=bench.machine.root, args=(f"sleep {head_start}; toto-act rollback {run} deadman",)
    )
    deadman.start()
    try:
        bench.target.confirm(run, Log())
        confirmed = True
    except ActivationFailed:
        confirmed = False
    deadman.join()
    facts = bench.target.facts()
    assert facts.pending is None
    assert facts.release == (release.id if confirmed else bench.one.id)
    assert facts.newest_state == ("confirmed" if confirmed else "rolled-back")
    assert ("toto-demo=2.0" in bench.ours()) == confirmed and bench.target.drift() == ()


def test_hand_edit_stops_the_run_with_a_difference_and_can_be_forced(bench: Bench) -> None:
    bench.machine.root("echo mine >>/etc/toto-site.conf")
    release = two(bench)
    with pytest.raises(Drift, match=r"/etc/toto-site\.conf was changed by hand") as drift:
        bench.prepared(release, generation=2)
    assert any("+mine" in line for line in drift.value.lines)
    assert "mine" in bench.machine.root("cat /etc/toto-site.conf")
    run = bench.prepared(release, generation=2, over_drift=True)
    rollout.activate(bench.target, run, Log())
    rollback.undo(bench.target, run, Log())
    assert bench.machine.root("cat /etc/toto-site.conf") == "release 1", (
        "the way back aims at the release, not at the drift"
    )


def test_rights_changed_by_hand_are_drift(bench: Bench) -> None:
    bench.machine.root("chmod 600 /etc/toto-site.conf")
    assert bench.target.drift() == ("file /etc/toto-site.conf is 600 root:root, not 644 root:root",)
    bench.machine.root("chmod 644 /etc/toto-site.conf")


def test_package_changed_by_hand_is_drift(bench: Bench) -> None:
    other = bench.builder.package("toto-demo", "9.0")
    (bench.machine.folder / "root/root/o.deb").write_bytes(other.read_bytes())
    bench.machine.root("dpkg -i --force-all /root/o.deb")
    with pytest.raises(Drift, match=r"package toto-demo is 9\.0, not 1\.0"):
        bench.prepared(two(bench), generation=2)
    assert bench.target.drift() == ("package toto-demo is 9.0, not 1.0",)


def test_lock_held_is_told_with_its_holder(bench: Bench) -> None:
    hold = (
        'perl -e \'use Fcntl; open(F, ">>", "/var/lib/dpkg/lock-frontend"); '
        'my $l = pack("s s l! l! i x4", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; '
        'print STDERR "held"; sleep 20\' '
        "9>&- >/dev/null 2>/root/held & echo $! >/root/holder"
    )
    bench.machine.root(hold)
    until(lambda: "held" in bench.machine.root("cat /root/held"), 5, "the lock is held")
    try:
        with pytest.raises(TargetTrouble, match=r"dpkg is locked by process \d+ \(perl"):
            bench.prepared(two(bench), target=dataclasses.replace(bench.target, lock=1))
    finally:
        bench.machine.root("kill $(cat /root/holder)")


def test_interrupted_dpkg_is_told(bench: Bench) -> None:
    half = bench.builder.package("toto-half", "1.0", postinst="exit 1")
    (bench.machine.folder / "root/root/h.deb").write_bytes(half.read_bytes())
    bench.machine.root("dpkg --unpack /root/h.deb")
    try:
        with pytest.raises(TargetTrouble, match=r"dpkg was interrupted there: .*toto-half"):
            bench.prepared(two(bench))
    finally:
        bench.machine.root("dpkg --purge --force-all toto-half")


def test_no_space_is_told_before_anything_changes(bench: Bench) -> None:
    huge = bench.builder.deb("toto-huge", "1.0", extra="Installed-Size: 900000000\n")
    with pytest.raises(TargetTrouble, match=r"no space left: the change needs \d{6} MB on /, and \d+ MB are free"):
        bench.prepared(bench.builder.release(huge))
    bench.machine.root("mount -t tmpfs -o size=1M none /var/lib/toto")
    try:
        with pytest.raises(TargetTrouble, match="no space left: the upload needs"):
            bench.target.send(two(bench), bundle(suite()), Log())
    finally:
        bench.machine.root("umount /var/lib/toto")
    assert bench.ours() == ONE


def test_release_that_cannot_be_installed_is_the_engineers_matter(bench: Bench) -> None:
    with pytest.raises(Refused, match="toto-nowhere"):
        bench.prepared(bench.builder.release(predepends="toto-nowhere (= 1.0)"))


def test_removal_of_a_stranger_is_refused_by_name(bench: Bench) -> None:
    (bench.machine.folder / "root/root/s.deb").write_bytes(bench.builder.package("toto-mine", "1.0").read_bytes())
    bench.machine.root("dpkg -i /root/s.deb")
    rival = bench.builder.deb("toto-rival", "1.0", extra="Conflicts: toto-mine\n")
    try:
        with pytest.raises(Refused, match="would remove what toto did not install: toto-mine"):
            bench.prepared(bench.builder.release(rival))
    finally:
        bench.machine.root("dpkg --purge toto-mine")


def test_changed_conffile_is_kept_and_reported(bench: Bench) -> None:
    bench.machine.root("echo mine >>/etc/toto-demo.conf")
    run, log = bench.prepared(two(bench), generation=2), Log()
    rollout.activate(bench.target, run, log)
    assert any("/etc/toto-demo.conf.dpkg-dist" in line for line in log.lines)
    rollback.undo(bench.target, run, Log())
    bench.machine.root(
        "rm -f /etc/toto-demo.conf*; dpkg -i --force-confmiss /var/lib/toto/releases/*/debs/toto-demo_1.0_all.deb"
    )


def test_rollback_by_hand_to_a_kept_release_and_to_the_machine_as_found(bench: Bench) -> None:
    bench.deployed(two(bench), 2)
    bench.machine.root("echo mine >>/etc/toto-site.conf")
    rollback.restore(bench.target, bench.number(), bench.one, 1, suite(), Log(StageName.ROLLBACK))
    facts = bench.target.facts()
    assert (facts.release, facts.generation) == (bench.one.id, 1) and bench.ours() == ONE
    rollback.restore(bench.target, bench.number(), None, 0, Suite("web", ()), Log(StageName.ROLLBACK))
    assert bench.ours() == set() and bench.target.facts().generation == 0


def test_package_of_the_machine_as_found_that_no_mirror_has_any_more_comes_back(whole: Bench) -> None:
    whole.found()
    old = whole.builder.deb(
        "toto-legacy", "0.9", files={"usr/share/toto-legacy/data": "old\n"}, postinst="echo legacy configured"
    )
    (whole.machine.folder / "root/root/l.deb").write_bytes(old.read_bytes())
    whole.machine.root("dpkg -i /root/l.deb; rm /root/l.deb; echo kept >/usr/share/toto-legacy/data")
    new = whole.builder.deb("toto-legacy", "1.0", files={"usr/share/toto-legacy/data": "new\n"})
    whole.deployed(whole.builder.release(new))
    assert whole.machine.root("cat /usr/share/toto-legacy/data") == "new"
    whole.found()
    assert whole.ours() == {"toto-legacy=0.9"} and whole.machine.root("cat /usr/share/toto-legacy/data") == "kept"
    whole.machine.root("dpkg --purge toto-legacy")


def test_second_deploy_is_told_who_holds_the_host(bench: Bench) -> None:
    bench.machine.root(
        "(flock -x 9; echo 'run 77' >/var/lib/toto/holder; exec sleep 20) 9>>/var/lib/toto/lock >/dev/null 2>&1 & "
        "echo $! >/root/holder"
    )
    try:
        until(lambda: bench.machine.root("cat /var/lib/toto/holder") == "run 77", 5, "the lock is held")
        with pytest.raises(TargetTrouble, match="another deploy holds it: run 77"):
            bench.prepared(two(bench))
    finally:
        bench.machine.root("kill $(cat /root/holder)")


def test_clean_up_keeps_what_a_way_back_needs(bench: Bench) -> None:
    last = two(bench)
    bench.deployed(last, 2)
    kept = bench.machine.root("ls /var/lib/toto/releases").split()
    assert last.id in kept and bench.one.id in kept
    assert len(bench.machine.root("ls /var/lib/toto/runs").split()) <= 21


def test_exit_codes_have_sentences(bench: Bench) -> None:
    script = Path(answers.__file__).with_name("toto-act").read_text()
    for name in (
        "BUSY",
        "PENDING",
        "INTERRUPTED",
        "DRIFT",
        "NO_WAY",
        "NO_SPACE",
        "FORGED",
        "STALE",
        "DAMAGED",
        "DPKG_LOCK",
        "NOT_NEWEST",
    ):
        assert f"{name}={getattr(answers, name)}" in script.replace("\n", " ")
