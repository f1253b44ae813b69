"""The corpus: every quirk of TAP that toto takes a stand on, and real tools' recorded output."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from host_tests.judge import Judge, judge

CORPUS = sorted((Path(__file__).parents[1] / "golden" / "tap").glob("*.tap"))


def exit_code(path: Path) -> int:
    match = re.search(r"\.exit(\d+)\.tap$", path.name)
    return int(match[1]) if match else 0


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) > 80


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_verdict_is_the_recorded_one(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    assert judge(path.read_bytes(), exit_code(path)).to_json() == expected


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("step", [1, 7])
def test_pieces_do_not_change_the_verdict(path: Path, step: int) -> None:
    data = path.read_bytes()
    reader = Judge()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    assert reader.finish(exit_code(path)) == judge(data, exit_code(path))
