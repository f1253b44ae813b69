"""A host's tests as values; `suite` makes them from a repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from host_tests.stock_checks import stock_labels
from server.core.states import StageName

EVERY = "all"
"""The folder, and the group, of tests for every host."""


@dataclass(frozen=True)
class TestFile:
    """A file that a test stage of a host needs.

    Attributes:
        stage: The stage's folder it stands in.
        group: `all` or `host`.
        name: Path below the stage's folder: a bare name, or `data/x.json` for what lies deeper.
        source: Path in the repository.
        content: Its bytes; a link's target's bytes.
        executable: Whether it has the run bit.
    """

    __test__ = False

    stage: StageName
    group: str
    name: str
    source: str
    content: bytes
    executable: bool

    @property
    def is_test(self) -> bool:
        """Whether it is run, and not data beside the tests."""
        return "/" not in self.name and (self.executable or self.name.endswith(".bats")) and self.name[0] != "."

    @property
    def label(self) -> str:
        """Name in frames and check rows: the bare name of a host's own test, `all/NAME` for everybody's."""
        return f"{EVERY}/{self.name}" if self.group == EVERY else self.name


@dataclass(frozen=True)
class Suite:
    """All tests of one host at one commit."""

    host: str
    files: tuple[TestFile, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of stages, groups, names, modes and contents; toto's own checks and library do not count."""
        total = hashlib.sha256(b"toto suite 1\n")
        for file in sorted(self.files, key=lambda file: (file.stage, file.group, file.name)):
            mode = "x" if file.executable else "-"
            content = hashlib.sha256(file.content).hexdigest()
            total.update(f"{file.stage}\0{file.group}\0{file.name}\0{mode}\0{content}\n".encode())
        return total.hexdigest()

    def for_stage(self, stage: StageName) -> tuple[TestFile, ...]:
        """The tests of a stage in the order in which they run, everybody's first; data is left out."""
        tests = (file for file in self.files if file.stage == stage and file.is_test)
        return tuple(sorted(tests, key=lambda file: (file.group != EVERY, file.name.encode())))

    def expected(self, stage: StageName, *, stock: bool = True) -> tuple[str, ...]:
        """Labels of all that `run-tests --stage STAGE` runs, in order; what `runner.run_stage` wants."""
        return (*(stock_labels() if stock else ()), *(file.label for file in self.for_stage(stage)))

    @property
    def empty(self) -> bool:
        """Whether there is no test of the fleet's own."""
        return not any(file.is_test for file in self.files)
