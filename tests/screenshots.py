"""Takes the pictures in `docs/screenshots`, of a running toto or of the tests' busy fleet."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser import browser
from tests.webserver import PASSWORD, PERSON, filled_web

WIDTHS = {390: 844, 1280: 800, 1920: 1080}
SHOTS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390), ("light", 1920))
KEPT = {
    "fleet": SHOTS,
    "run": SHOTS,
    "host": SHOTS,
    "run-live": (("dark", 1280),),
    "run-rolled-back": (("light", 1280),),
    "push": (("light", 1280), ("light", 390)),
    "rollback": (("light", 1280), ("dark", 390)),
}
"""What lies in `docs/screenshots`; `--all` takes every page at every size."""


@contextlib.contextmanager
def pages_of(address: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """An address, and the paths to take pictures of."""
    if address:
        yield address.rstrip("/"), {"fleet": "/", "runs": "/runs", "pushes": "/pushes", "workers": "/workers"}
        return
    with tempfile.TemporaryDirectory() as folder, filled_web(Path(folder)) as (found, fleet):
        runs = fleet.runs
        yield (
            found,
            {
                "fleet": "/",
                "run": f"/runs/{runs['old-failure']}",
                "run-live": f"/runs/{runs['running']}",
                "run-rolled-back": f"/runs/{runs['rolled-back']}",
                "host": "/hosts/web",
                "push": f"/pushes/{fleet.pushes['head']}",
                "runs": "/runs",
                "pushes": "/pushes",
                "rollback": "/hosts/web",
            },
        )


def found_on(page: Page, address: str) -> dict[str, str]:
    """Paths of a host and of a run that a running toto shows itself."""
    page.goto(address)
    paths = {}
    for name, start in (("host", "/hosts/"), ("run", "/runs/")):
        link = page.locator(f'main a[href^="{start}"]').first
        if link.count():
            paths[name] = link.get_attribute("href") or ""
    return paths


def take(chromium: Browser, address: str, paths: dict[str, str], out: Path, *, every: bool) -> None:
    """The pages, at the sizes that are kept, or at every size."""
    for scheme, width in SHOTS:
        context = chromium.new_context(
            viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme, device_scale_factor=1
        )
        page = context.new_page()
        for name, path in {**paths, **(found_on(page, address) if "host" not in paths else {})}.items():
            if not every and (scheme, width) not in KEPT.get(name, ()):
                continue
            page.goto(address + path)
            if name == "rollback":
                _ask(page)
            page.wait_for_timeout(400)
            page.screenshot(path=out / f"{name}-{width}-{scheme}.png")
        context.close()


def _ask(page: Page) -> None:
    """Log in where it is needed, and press Roll back on the host's page."""
    if page.get_by_role("link", name="Log in").count():
        page.get_by_role("link", name="Log in").click()
        page.get_by_label("Name").fill(PERSON)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("dialog").wait_for()


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", help="a running toto; without it, the tests' fleet is shown")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--all", action="store_true", help="every page at every size")
    parser.add_argument("--only", action="append", help="names of pages, such as fleet")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with pages_of(asked.address) as (address, paths), browser() as chromium:
        chosen = {name: path for name, path in paths.items() if not asked.only or name in asked.only}
        take(chromium, address, chosen, asked.out, every=asked.all)


if __name__ == "__main__":
    main()
