"""toto's errors. Each says what happened, where, and how to mend it; `server.cli` turns them into text and exit codes.

TotoError
├── UsageFault            the command was called wrongly                               exit 2
├── Refused               the answer is no: the engineer's matter, a run ends `failed`  exit 1
│   ├── FleetFaults       the fleet's files are invalid; carries every fault with its line
│   ├── BuildRefused      packages cannot be resolved, a definition cannot be built
│   └── ChecksFailed      host tests said no
└── Trouble               we could not find out: the operator's matter, a run ends `error`  exit 5
    ├── ConfigError       toto.toml, environment or command line is wrong
    ├── ToolMissing       a program of the system is not installed
    ├── CommandFailed     a child process ended with a code that nobody expected
    │   └── CommandTimeout  …or did not end in time
    ├── StoreTrouble      the database could not be read or written
    ├── QueueTrouble      Redis could not be reached
    ├── VmTrouble         the virtual machine could not be started or reached
    └── TargetTrouble     the target could not be reached, or is not fit for a deploy
        └── Unknown       an activation began and its outcome is not known yet
"""

from __future__ import annotations

from dataclasses import dataclass


class TotoError(Exception):
    """Base of all errors that toto tells people about.

    Args:
        what: What happened, as a sentence without a full stop.
        where: Place of the fault (`file:line`, a host, a command); empty where `what` says it.
        mend: What to do about it; empty only where nothing can be done.
    """

    exit_code = 5

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.mend}" if self.mend else text


class UsageFault(TotoError):
    """The command was called wrongly."""

    exit_code = 2


class Refused(TotoError):
    """The answer is no. The engineer's matter: a run ends `failed`."""

    exit_code = 1


class Trouble(TotoError):
    """toto could not find out. The operator's matter: a run ends `error`."""

    exit_code = 5


@dataclass(frozen=True, order=True)
class Fault:
    """One fault in a fleet's files.

    Attributes:
        path: File in the repository, relative to its root.
        line: Line in that file, from 1; 0 where no line can be named.
        text: What is wrong, and what to do, as one line.
    """

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.text}"


class FleetFaults(Refused):
    """The fleet's files are invalid; all faults are told together."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class BuildRefused(Refused):
    """Packages cannot be resolved, or a definition cannot be built."""


class ChecksFailed(Refused):
    """Host tests said no."""


class ConfigError(Trouble):
    """toto.toml, the environment or the command line is wrong."""

    exit_code = 2


class ToolMissing(Trouble):
    """A program of the system is not installed."""


class CommandFailed(Trouble):
    """A child process ended with a code that nobody expected.

    Attributes:
        code: Its exit code; negative for a signal.
        output: The end of what it printed, stdout and stderr together.
    """

    def __init__(self, what: str, *, code: int, output: str, where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code
        self.output = output


class CommandTimeout(CommandFailed):
    """A child process did not end in time and was killed."""


class StoreTrouble(Trouble):
    """The database could not be read or written."""


class QueueTrouble(Trouble):
    """Redis could not be reached."""


class VmTrouble(Trouble):
    """The virtual machine could not be started or reached."""


class TargetTrouble(Trouble):
    """The target could not be reached, or is not fit for a deploy."""


class Unknown(TargetTrouble):
    """An activation began and its outcome is not known: ended by evidence alone."""
