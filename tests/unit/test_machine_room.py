from __future__ import annotations

from pathlib import Path

import pytest

from jobs import machine as it
from server.core.errors import VmTrouble


def test_a_full_disk_here_is_the_operators_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(it, "SPARE_DISK", 10**18)
    with pytest.raises(VmTrouble, match="MB are free") as raised:
        it._room(tmp_path)
    assert raised.value.where == str(tmp_path) and "toto gc" in raised.value.mend


def test_room_enough_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(it, "SPARE_DISK", 1)
    it._room(tmp_path)


def test_a_missing_part_of_the_image_is_the_operators_matter(tmp_path: Path) -> None:
    import contextlib

    with contextlib.ExitStack() as stack, pytest.raises(VmTrouble, match="cannot be opened"):
        it._opened(stack, tmp_path / "vmlinuz")
