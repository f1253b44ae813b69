from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from jobs.machine_folder import socket_folder, sweep

HOLD = """
import sys, time
from pathlib import Path
from jobs.machine_folder import socket_folder
with socket_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_the_folder_is_private_and_goes_with_the_block(tmp_path: Path) -> None:
    with socket_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(str(folder.name)) < 20
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    with socket_folder(tmp_path) as folder, socket_folder(tmp_path) as other:
        assert sweep(tmp_path) == []
        assert folder.is_dir() and other.is_dir()


def test_a_killed_owners_folder_is_swept_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        (left / "in").mkdir()
        assert sweep(tmp_path) == []
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
    assert left.is_dir()
    with socket_folder(tmp_path):
        assert not left.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "toto-vm-half").mkdir()
    goal = tmp_path / "elsewhere"
    goal.mkdir()
    (goal / "lock").touch()
    (tmp_path / "toto-vm-link").symlink_to(goal)
    assert sweep(tmp_path) == []
    assert goal.is_dir() and (tmp_path / "toto-vm-half").is_dir()
