"""Chromium for tests and screenshots: one browser, its own user data, nothing of it reaching out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-default-browser-check", "--disable-default-apps",
)  # fmt: skip
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """The system's browser, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of our own, closed at the end; playwright gives it new user data."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program(), args=list(ARGUMENTS))
        try:
            yield found
        finally:
            found.close()
