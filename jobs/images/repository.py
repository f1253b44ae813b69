"""The apt repository of a release: an index of exactly its .debs, and the index's digest. It is signed elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from pathlib import Path

from server.core.control import Paragraph, render

FIRST = ("Package", "Version", "Architecture")
LEFT_OUT = ("Filename", "Size", "SHA256", "MD5sum")


def stanza(control: Paragraph, file: str, size: int, sha256: str) -> str:
    """A .deb's paragraph of Packages."""
    fields = {name: control[name] for name in FIRST}
    fields |= {name: value for name, value in control.items() if name not in (*FIRST, *LEFT_OUT)}
    return render({**fields, "Filename": f"debs/{file}", "Size": str(size), "SHA256": sha256})


def packages(stanzas: Mapping[str, str]) -> bytes:
    """Packages: paragraphs by their file's name, in its order."""
    return "\n".join(stanzas[file] for file in sorted(stanzas)).encode()


def release(release_id: str, suite: str, architectures: Sequence[str], index: bytes, epoch: int) -> bytes:
    """Release: what the index must be. No `Valid-Until`: how long it may be installed is the signed manifest's word."""
    fields = {
        "Origin": f"toto-{release_id[:12]}",
        "Label": "toto",
        "Suite": suite,
        "Codename": suite,
        "Date": formatdate(epoch, usegmt=True).replace("GMT", "UTC"),
        "Architectures": " ".join(architectures),
        "Acquire-By-Hash": "no",
        "SHA256": f"\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages",
    }
    return render(fields).encode()


def write(folder: Path, index: bytes, digest: bytes) -> None:
    """Put both files into a folder."""
    (folder / "Packages").write_bytes(index)
    (folder / "Release").write_bytes(digest)
