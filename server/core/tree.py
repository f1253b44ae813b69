"""A repository's files at one commit, as those who read them see it (`repos` makes one from git)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

FILE, EXECUTABLE, LINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000
"""Git's file modes (git-fast-import(1), filemodify)."""


@dataclass(frozen=True)
class Entry:
    """A file of a tree.

    Attributes:
        mode: Git's mode: `FILE`, `EXECUTABLE`, `LINK` or `SUBMODULE`.
        blob: Git's name of its content.
        size: Bytes.
    """

    mode: int
    blob: str
    size: int


class Tree(Protocol):
    """Read access to all files of one commit. Folders exist through their files."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every file's path, relative to the root, in git's order."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file; a link's content is its target.

        Raises:
            KeyError: There is no such file.
        """
        ...
