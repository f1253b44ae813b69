"""A Debian target: every act is a command of the script that stays there (toto-act), every verdict its record's."""

from __future__ import annotations

import functools
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy import answers, manifest, signing, target
from deploy.backend import ActivationFailed, Drift, Facts, Preview, Record, ReleaseLike, RollbackFailed
from deploy.signing import ReleaseKeys
from host_tests import runner
from host_tests.bundle import bundle
from host_tests.suite_values import Suite
from server.core.config import Config, Limits
from server.core.definition import HostEntry
from server.core.errors import TargetTrouble, Unknown
from server.core.process import Result
from server.core.recorder import StageLog
from server.core.ssh import LOST, Ssh
from server.core.states import StageName

CONTACT_SECONDS = 60
"""After an activation SSH must answer within this, or the target undoes it."""
LOCK_SECONDS = 30
"""How long a preflight waits for others to be done with dpkg."""
SPARE_SECONDS = 120
"""What the dead-man's time has over activation and smoke tests together."""
ROLLBACK_SECONDS = 900
POLL_SECONDS = 0.5
QUICK_SECONDS = 60.0


@dataclass(frozen=True)
class DebianTarget:
    """One Debian machine.

    Attributes:
        name: The host.
        ssh: The way to it; a fresh connection for each command.
        keys: What its /etc/toto believes.
        limits: Bounds of its runs.
        command: What starts toto-act; empty where the account's forced command does.
        contact: Seconds within which SSH must answer after an activation.
        lock: Seconds that a preflight waits for others to be done with dpkg.
    """

    name: str
    ssh: Ssh
    keys: ReleaseKeys
    limits: Limits
    command: str = ""
    contact: int = CONTACT_SECONDS
    lock: int = LOCK_SECONDS

    @classmethod
    def of(cls, config: Config, entry: HostEntry, ssh: Ssh, limits: Limits) -> DebianTarget:
        """The target of a host entry."""
        return cls(entry.name, ssh, signing.keys(config.folder("keys", "release")), limits)

    # -- asking

    @property
    def _command(self) -> list[str]:
        return [self.command] if self.command else []

    def _say(self, verb: str, *words: str, data: bytes | None = None, timeout: float = QUICK_SECONDS) -> Result:
        """Run a verb there; the result's code is toto-act's, or 255 where nothing is known."""
        command = " ".join([*self._command, verb, *words])
        return self.ssh.run(command, timeout=timeout, data=data)

    def _do(self, verb: str, *words: str, data: bytes | None = None, timeout: float = QUICK_SECONDS) -> str:
        """Run a verb there that must succeed; its output."""
        result = self._say(verb, *words, data=data, timeout=timeout)
        if result.code != 0:
            raise self._fault(verb, result)
        return result.text

    def _fault(self, verb: str, result: Result) -> Exception:
        if result.timed_out:
            return TargetTrouble(
                f"toto-act {verb} did not end within {result.seconds:.0f} s",
                where=self.name,
                mend="look at the machine: it hardly gets on",
            )
        if result.code == LOST:
            return target.unreachable(self.ssh, result.stderr)
        return answers.fault(self.name, verb, result.code, result.stderr.decode(errors="replace"))

    def _order(self, kind: str, **said: str | int) -> bytes:
        return manifest.order(self.keys, self.name, kind, said)

    def facts(self) -> Facts:
        """What it is, and what runs there."""
        began = time.time()
        said = _pairs(self._do("hello"))
        if said.get("host") != self.name:
            raise TargetTrouble(
                f'it calls itself "{said.get("host")}"',
                where=f"{self.name} ({self.ssh.address})",
                mend="check its address in fleet.toml, or enrol it under this name",
            )
        return _facts(said, began)

    def record(self, run_id: str) -> Record:
        """How the run stands by the machine's own record, asked over a fresh connection."""
        result = self._say("state", run_id)
        if result.code == answers.NOT_READY:
            return Record("none")
        if result.code != 0:
            raise self._fault("state", result)
        return _record(result.text)

    def drift(self) -> tuple[str, ...]:
        """What is not as toto put it."""
        return tuple(line for line in self._do("drift", timeout=300).splitlines() if line)

    # -- before

    def send(self, release: ReleaseLike | None, tests_bundle: bytes, log: StageLog) -> None:
        """Bring a release and a bundle of tests there, as far as they are missing."""
        if release is not None:
            self._send_release(manifest.release(self.keys, self.name, release.id, release.path), log)
        digest, upload = manifest.tests(self.keys, self.name, tests_bundle)
        self._do("tests", digest, data=upload, timeout=300)

    def _send_release(self, signed: manifest.SignedRelease, log: StageLog) -> None:
        wanted = self._do("want", signed.id, data=signed.manifest.encode(), timeout=300).split()
        if wanted == ["have"]:
            log.line(f"release {signed.id[:12]} is on {self.name} already")
            return
        count = sum(part.digest in wanted for part in signed.parts)
        size = sum(part.size for part in signed.parts if part.digest in wanted)
        rest = "" if count == len(signed.parts) else f"; the others are on {self.name} already"
        log.line(f"sending {count} of {len(signed.parts)} files, {size / 1e6:.1f} MB{rest}")
        with signed.upload(set(wanted)) as upload:
            result = self.ssh.run(" ".join([*self._command, "receive", signed.id]), data=upload, timeout=3600)
        if result.code != 0:
            raise self._fault("receive", result)

    def preflight(
        self, run_id: str, release_id: str, generation: int, *, over_drift: bool = False, log: StageLog
    ) -> Preview:
        """Check the machine and record all that the way back needs; changes nothing."""
        bounds = {
            "activation": int(self.limits.activation),
            "contact": self.contact,
            "deadman": self._deadman,
            "lock": self.lock,
        }
        force = {"force": "over-drift"} if over_drift else {}
        data = self._order("activate", run=run_id, release=release_id, generation=generation, **bounds, **force)
        try:
            said = self._do("preflight", run_id, release_id, data=data, timeout=300)
        except Drift as drift:
            for line in drift.lines:
                log.line(line)
            raise
        changes = _changes(said)
        for name, old, new in changes:
            log.line(
                f"{name}: {old} -> {new}" if old and new else f"{name}: {new} is added" if new else f"{name} is removed"
            )
        return Preview(changes)

    @property
    def _deadman(self) -> int:
        return int(self.limits.activation + self.limits.tests + SPARE_SECONDS)

    # -- the change

    def activate(self, run_id: str, log: StageLog) -> None:
        """Change the machine, provisionally; a lost connection is no verdict, the target's record is."""
        result = self._say("start", run_id)
        if result.code not in (0, LOST) and not result.timed_out:
            raise self._fault("start", result)
        if result.code != 0:
            log.line(f"the connection to {self.name} was lost while the activation started; its own record decides")
        record = self._await(run_id, ("applied", "apply-failed", *_BACK), self.limits.activation + SPARE_SECONDS, log)
        for path in record.left:
            log.line(f"left beside a file that was changed by hand: {path}")
        if record.state != "applied":
            raise self._failed(record)

    def _failed(self, record: Record) -> ActivationFailed:
        what = (
            "the activation failed"
            if record.state == "apply-failed"
            else f"the host undid the activation ({record.text})"
        )
        return ActivationFailed(
            f"{what}: {record.text}" if record.state == "apply-failed" else what,
            where=self.name,
            mend="the stage's log shows what apt said",
        )

    def run_tests(
        self, run_id: str, stage: StageName, suite: Suite, log: StageLog, *, tests: StageName | None = None
    ) -> None:
        """Run the tests of a stage there, as their signed bundle has them, and judge them live."""
        digest, upload = manifest.tests(self.keys, self.name, bundle(suite))
        self._do("tests", digest, data=upload, timeout=300)
        of, nonce = tests or stage, secrets.token_hex(8)
        bounds = {"seconds": int(self.limits.tests), "each": int(self.limits.test), "bytes": self.limits.output}
        order = self._order("tests", run=run_id, stage=of.value, nonce=nonce, tests=digest, **bounds)
        command = " ".join([*self._command, "run-tests", run_id, of.value, nonce, str(int(time.time()))])
        verdict = runner.run_stage(
            functools.partial(self.ssh.run, data=order),
            command,
            stage,
            suite.expected(of),
            log,
            nonce=nonce,
            timeout=self.limits.tests + SPARE_SECONDS,
            host=self.name,
            tests=of,
            trouble=TargetTrouble,
        )
        runner.raise_for(verdict)

    def confirm(self, run_id: str, log: StageLog) -> None:
        """Make the activation permanent, over a new connection."""
        result = self._say("confirm", run_id, data=self._order("confirm", run=run_id))
        if result.code in (answers.BUSY, answers.NOT_PENDING, answers.NOT_APPLIED, LOST) or result.timed_out:
            record = self._await(
                run_id, ("confirmed", "apply-failed", *_BACK), ROLLBACK_SECONDS, log, settled=("applied",)
            )
            if record.state == "applied":
                self._do("confirm", run_id, data=self._order("confirm", run=run_id))
            elif record.state != "confirmed":
                raise self._failed(record)
        elif result.code != 0:
            raise self._fault("confirm", result)

    def undo(self, run_id: str, log: StageLog) -> None:
        """Return to what ran before the run; the dead-man may be at it already."""
        deadline = time.monotonic() + ROLLBACK_SECONDS
        while (result := self._say("undo", run_id, data=self._order("undo", run=run_id))).code == LOST:
            log.line(f"{self.name} does not answer; asking again")
            if time.monotonic() > deadline:
                raise self._unknown(run_id, target.unreachable(self.ssh, result.stderr))
            time.sleep(2)
        if result.code != 0:
            raise self._fault("undo", result)
        record = self._await(run_id, _BACK, ROLLBACK_SECONDS, log)
        if record.state == "rollback-failed":
            raise RollbackFailed(
                f"it is not as it was before ({record.text})",
                where=self.name,
                mend=f"the log shows what differs; on the host: `sudo toto-act log {run_id}`",
            )

    def _await(
        self, run_id: str, wanted: tuple[str, ...], seconds: float, log: StageLog, *, settled: tuple[str, ...] = ()
    ) -> Record:
        """Ask over fresh connections until the run is in a wanted state; its log runs along.

        A `settled` state ends it too, once the machine has said it for a while: nothing works on it any more.
        """
        deadline, shown, still = time.monotonic() + seconds, 0, 0
        trouble: Exception | None = None
        while True:
            try:
                record, trouble = self.record(run_id), None
                shown = self._show_log(run_id, record, shown, log)
                still = still + 1 if record.state in settled else 0
                if record.state in wanted or still > SETTLED_POLLS:
                    return record
            except TargetTrouble as error:
                if trouble is None:
                    log.line(f"{error}; asking again until its record is read")
                trouble = error
            if time.monotonic() > deadline:
                raise self._unknown(run_id, trouble)
            time.sleep(POLL_SECONDS)

    def _unknown(self, run_id: str, trouble: Exception | None) -> Unknown:
        return Unknown(
            f"how run {run_id} stands there is not known ({trouble or 'it has not ended in time'})",
            where=self.name,
            mend="its dead-man undoes what nobody confirms; the next deploy reads its record first",
        )

    def _show_log(self, run_id: str, record: Record, shown: int, log: StageLog) -> int:
        while shown < record.log:
            result = self._say("log", run_id, str(shown))
            if result.code != 0:
                raise self._fault("log", result)
            if not result.stdout:
                break
            log.write(result.stdout)
            shown += len(result.stdout)
        return shown


_BACK = ("rolled-back", "rollback-failed")
SETTLED_POLLS = 4


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _facts(said: Mapping[str, str], asked: float) -> Facts:
    return Facts(
        host=said["host"],
        suite=said["suite"],
        architecture=said["arch"],
        free=int(said["free"]),
        free_boot=int(said["free_boot"]),
        release=said["release"],
        generation=int(said["generation"]),
        run=said["run"] or None,
        newest=said["newest"] or None,
        newest_state=said["newest_state"] or None,
        pending=said["pending"] or None,
        boot=said["boot"],
        uptime=float(said["uptime"]),
        clock=int(said["now"]) - asked,
        needs_reboot=said["needs_reboot"] == "yes",
        version=int(said["version"]),
    )


def _record(text: str) -> Record:
    lines = text.splitlines()
    state = re.match(r"state=(\S+)(?: time=\S+ boot=\S+)? ?(.*)", lines[0] if lines else "")
    rest = re.match(r"pending=(\S*) log=(\d+)", lines[1] if len(lines) > 1 else "")
    if state is None or rest is None:
        return Record("none")
    left = tuple(line.removeprefix("left=") for line in lines[2:] if line.startswith("left="))
    return Record(state[1], state[2].strip(), rest[1] or None, int(rest[2]), left)


def _changes(text: str) -> tuple[tuple[str, str, str], ...]:
    found = []
    for line in text.splitlines():
        match line.split():
            case ["change", name, old, new]:
                found.append((name, old, new))
            case ["add", name, new]:
                found.append((name, "", new))
            case ["remove", name]:
                found.append((name, "installed", ""))
    return tuple(found)
