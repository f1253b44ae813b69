"""What toto-act's exit codes mean: each becomes one sentence with what to do."""

from __future__ import annotations

from deploy.backend import Drift
from server.core.errors import Refused, TargetTrouble, TotoError

BUSY, PENDING, INTERRUPTED, DRIFT, NO_INDEX, NO_WAY, NOT_READY, NO_UNIT, NOT_PENDING, NOT_APPLIED = range(11, 21)
EXISTS, REMOVES, CHANGED, NO_SPACE, FORGED, STALE = range(21, 27)
DAMAGED, DPKG_LOCK, NO_RELEASE, NOT_NEWEST = range(28, 32)

_TROUBLES = {
    BUSY: ("another deploy holds it: {said}", "it is tried again when that one has ended"),
    PENDING: (
        "run {said} is being tried there and was neither confirmed nor undone",
        "wait until its dead-man undoes it, or undo it on the host: `sudo toto-act rollback {said} asked`",
    ),
    INTERRUPTED: (
        "dpkg was interrupted there: {said}",
        "run `dpkg --configure -a` on the host, see what it says, and retry",
    ),
    NO_INDEX: (
        "apt does not accept the release: {said}",
        "`toto rebuild {host}` makes it anew; check the host's clock",
    ),
    NOT_READY: ("{said}", "retry the run"),
    NO_UNIT: ("{said}; nothing was changed", "look at `systemctl status` on the host"),
    NOT_PENDING: ("{said}", "look at the run's log on the host: `sudo toto-act log RUN`"),
    NOT_APPLIED: ("{said}", "look at the run's log on the host: `sudo toto-act log RUN`"),
    EXISTS: ("it has a record of this run already: {said}", "start a new run: `toto rebuild {host}`"),
    CHANGED: ("its packages changed since the preflight: {said}", "somebody works there: wait, then retry the run"),
    NO_SPACE: ("no space left: {said}", "make room on the host (`apt-get clean`, old logs), then retry the run"),
    FORGED: (
        "it does not accept what toto sent: {said}",
        "if toto's keys or the host's name changed, run the line of `toto host enrol {host}` on it again",
    ),
    STALE: ("it refuses an old order: {said}", "compare the clocks of this machine and of the host"),
    DAMAGED: ("the upload was damaged: {said}", "retry the run"),
    DPKG_LOCK: ("its dpkg is locked by {said}", "wait until that has ended, then retry the run"),
    NO_RELEASE: ("{said}", "retry the run"),
    NOT_NEWEST: ("it has gone on since: {said}", "`toto rollback {host}` returns to a generation"),
}
_REFUSALS = {
    NO_WAY: ("the release cannot be installed: {said}", "change the packages that conflict, or the host"),
    REMOVES: (
        "the release would remove what toto did not install: {said}",
        "remove it by hand, or leave out what conflicts with it",
    ),
}


def fault(host: str, verb: str, code: int, said: str) -> TotoError:
    """The error for an exit code of toto-act."""
    text = " ".join(said.split()) or "nothing more was said"
    names = {"said": text, "host": host}
    if code == DRIFT:
        lines = tuple(said.rstrip().splitlines())
        shown = [line for line in lines if not line.startswith("    ")]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        return Drift(
            f"it is not what toto put there: {', '.join(shown[:3])}{more}",
            lines=lines,
            where=host,
            mend="undo the change or bring it into the repository; `--over-drift -m WHY` deploys over it",
        )
    if code in _REFUSALS:
        what, mend = _REFUSALS[code]
        return Refused(what.format(**names), where=host, mend=mend)
    what, mend = _TROUBLES.get(code, (f"toto-act {verb} ended there with {code}: {{said}}", "look at the run's log"))
    return TargetTrouble(what.format(**names), where=host, mend=mend.format(**names))
