"""toto's own files that go to every host: the script that runs tests, the authors' library, the stock checks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def stock_labels() -> tuple[str, ...]:
    """Labels of the checks for every host, in the order in which they run."""
    return tuple(f"stock/{path.name}" for path in _files("stock"))


@cache
def own_files() -> tuple[tuple[str, bytes, bool], ...]:
    """Path in the bundle, content and run bit of each."""
    script = _HERE / "lib" / "run-tests"
    library = _HERE / "lib" / "tap.sh"
    stock = [(f"stock/{path.name}", path.read_bytes(), True) for path in _files("stock")]
    return (("run-tests", script.read_bytes(), True), ("lib/tap.sh", library.read_bytes(), False), *stock)


def _files(folder: str) -> list[Path]:
    found = (path for path in (_HERE / folder).iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))
    return sorted(found, key=lambda path: path.name.encode())
