"""What a stage may say while it runs: the seam between the work and its record."""

from __future__ import annotations

from typing import Protocol

from server.core.model import CheckRow
from server.core.states import StageName


class StageLog(Protocol):
    """Given to every stage. The pipeline turns what is raised out of a stage into its state: `Refused` is `failed`,
    `Trouble` is `error`; a stage that returns has passed.
    """

    @property
    def stage(self) -> StageName:
        """Which stage this is."""
        ...

    def line(self, text: str) -> None:
        """Write a sentence of toto's own into the stage's log."""
        ...

    def write(self, data: bytes) -> None:
        """Write output of a program into the stage's log, as it comes."""
        ...

    def check(self, row: CheckRow) -> None:
        """Record one TAP test point, at once."""
        ...

    def note(self, reason: str) -> None:
        """The short text beside the stage's name on the pages: 'SSH after 16 s', 'lock unchanged'."""
        ...

    def stopped(self) -> bool:
        """Whether somebody cancelled the run; long work asks this and ends."""
        ...
