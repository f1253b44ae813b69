"""The whole main job on real parts: `script/demo`, then Rebuild and Roll back pressed in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
EXPECTED = [
    (1, "web", "good"), (1, "db", "good"), (2, "web", "no-op"), (2, "db", "no-op"),
    (3, "web", "failed"), (3, "db", "no-op"), (4, "web", "rolled-back"), (4, "db", "no-op"),
]  # fmt: skip


def processes_of(folder: Path) -> list[str]:
    """Processes that name a folder in their arguments or their environment."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            said = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in said and int(each.name) != os.getpid():
            found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.vm
@pytest.mark.target
@pytest.mark.timeout(2400)
def test_the_demo_agrees_with_what_was_expected_and_leaves_nothing(open_folder: Path) -> None:
    folder, said = open_folder / "demo", open_folder / "demo.json"
    done = subprocess.run(
        [TOP / "script" / "demo", "--folder", folder, "--json", said], cwd=open_folder, text=True, capture_output=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    rows = json.loads(said.read_text())
    assert [(row["push"], row["host"], row["state"]) for row in rows] == EXPECTED
    assert all(row["state"] == row["expected"] and row["seconds"] >= 0 for row in rows)
    assert not folder.exists()
    assert processes_of(folder) == []
    assert not [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
