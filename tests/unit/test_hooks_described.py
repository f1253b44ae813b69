"""The list by which pre-receive's first half knows a description."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

from hooks import described


def test_a_list_only_grows(tmp_path: Path) -> None:
    assert described.listed(tmp_path) == ()
    described.add(tmp_path, ["roles/a"])
    described.add(tmp_path, ["roles/b"])
    assert described.listed(tmp_path) == tuple(sorted([*described.ALWAYS, "roles/a", "roles/b"]))


def test_what_lies_in_a_listed_folder_is_not_listed_again() -> None:
    assert described.compact(["hosts", "hosts/a/b", "hostsx"]) == ("hosts", "hostsx")


def test_what_does_not_fit_on_a_line_is_its_folder() -> None:
    assert described.compact(["a/b\nc", "d/ä/x", "e"]) == ("a", "d", "e")
    assert described.compact(["b\nc", "d"]) == (described.EVERYTHING,)


def test_too_many_become_their_folders_and_then_everything() -> None:
    many = described.MOST + 1
    assert described.compact([f"roles/{n}" for n in range(many)] + ["x/y"]) == ("roles", "x")
    assert described.compact([str(n) for n in range(many)]) == (described.EVERYTHING,)


def _add(place: str, number: int) -> None:
    described.add(Path(place), [f"p{number}/{n}" for n in range(5)])


def test_pushes_at_once_all_get_their_paths_in(tmp_path: Path) -> None:
    context = get_context("fork")
    children = [context.Process(target=_add, args=(str(tmp_path), number)) for number in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert {f"p{number}/{n}" for number in range(8) for n in range(5)} <= set(described.listed(tmp_path))
