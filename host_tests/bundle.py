"""A suite as a tar that a machine without Python can use: unpack it, run `run-tests` in it.

It holds `run-tests`, `lib/tap.sh`, `stock/NAME` and `tests/STAGE/{all,host}/NAME`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from host_tests.stock_checks import own_files
from host_tests.suite_values import Suite


def bundle(suite: Suite) -> bytes:
    """The tar; the same suite gives the same bytes."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in _folders(path for path, _, _ in _members(suite)):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for path, content, executable in _members(suite):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755 if executable else 0o644
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _members(suite: Suite) -> Iterator[tuple[str, bytes, bool]]:
    yield from own_files()
    for file in sorted(suite.files, key=lambda file: (file.stage, file.group, file.name.encode())):
        yield f"tests/{file.stage}/{file.group}/{file.name}", file.content, file.executable


def _folders(paths: Iterator[str]) -> list[str]:
    """Every folder above the paths, parents first."""
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")[:-1]
        found |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
    return sorted(found)
