"""Scratch folders of builds that run side by side."""

from __future__ import annotations

import threading

from jobs.images.unprivileged import Builder
from server.core.config import Config


def test_builders_side_by_side_leave_each_others_folders_alone(config: Config) -> None:
    found = Builder("nobody", 0, 0, False, config)
    faults: list[Exception] = []

    def build() -> None:
        try:
            for _ in range(40):
                with found.scratch("try") as folder:
                    (folder / "file").write_text("x")
                    assert folder.is_dir()
        except Exception as fault:  # noqa: BLE001 - told by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=build) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert not list(config.folder("tmp").glob("build-*"))
    assert [lock.name for lock in config.folder("locks").iterdir()] == ["builds"]


def test_what_a_killed_build_left_is_swept(config: Config) -> None:
    found = Builder("nobody", 0, 0, False, config)
    left = config.folder("tmp", "build-left")
    left.mkdir(parents=True)
    with found.scratch("try"):
        assert not left.exists()
