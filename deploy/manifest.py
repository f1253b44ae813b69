"""The texts that are signed for a target: what a release holds, what tests hold, what is to be done."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from deploy import signing
from deploy.signing import ReleaseKeys
from server.core.errors import Trouble

ORDER_SECONDS = 900
"""How long an order may be under way; the target's clock decides."""


@dataclass(frozen=True)
class Part:
    """One file of a release, as the manifest names it."""

    path: str
    digest: str
    size: int
    content: bytes | None = None
    source: Path | None = None

    @property
    def line(self) -> str:
        """Its line in the manifest."""
        return f"file {self.digest} {self.size} {self.path}\n"


@dataclass(frozen=True)
class SignedRelease:
    """A release ready to be sent."""

    id: str
    parts: tuple[Part, ...]
    manifest: str
    """With its signature."""

    def upload(self, wanted: Collection[str]) -> IO[bytes]:
        """A tar of the parts whose digest is wanted, in a file without a name."""
        handle: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for part in {part.path: part for part in self.parts if part.digest in wanted}.values():
                _add(tar, part)
        handle.seek(0)
        return handle


def _add(tar: tarfile.TarFile, part: Part) -> None:
    member = tarfile.TarInfo(part.path)
    member.size, member.mode = part.size, 0o644
    if part.source is None:
        tar.addfile(member, BytesIO(part.content or b""))
        return
    with part.source.open("rb") as content:
        tar.addfile(member, content)


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _bytes(path: str, content: bytes) -> Part:
    return Part(path, hashlib.sha256(content).hexdigest(), len(content), content=content)


def fields(stanza: str) -> dict[str, str]:
    """The one-line fields of a stanza of an index (deb822(5)), by lower-case name."""
    return {key.lower(): value.strip() for key, value in re.findall(r"^([A-Za-z0-9-]+):(.*)$", stanza, re.M)}


def _deb(folder: Path, stanza: str) -> Part:
    said = fields(stanza)
    path = str(PurePosixPath(said.get("filename", "")))
    source = folder / path
    if not said.get("filename") or ".." in PurePosixPath(path).parts or not source.is_file():
        raise Trouble(
            f"its Packages names {path or 'nothing'} for {said.get('package')}, which is not there",
            where=str(folder),
            mend="build the release again",
        )
    size = source.stat().st_size
    if str(size) != said.get("size"):
        raise Trouble(
            f"{path} has {size} bytes, not {said.get('size')}", where=str(folder), mend="build the release again"
        )
    return Part(path, said["sha256"], size, source=source)


def release(keys: ReleaseKeys, host: str, release_id: str, folder: Path) -> SignedRelease:
    """Sign a release folder (`Packages`, `Release`, the .debs that Packages names) for one host.

    Raises:
        Trouble: A file is missing, or is not what the index says.
    """
    try:
        packages, index = (folder / "Packages").read_bytes(), (folder / "Release").read_bytes()
    except OSError as error:
        raise Trouble(f"the release cannot be read: {error}", where=str(folder), mend="build it again") from error
    stanzas = [stanza for stanza in packages.decode().split("\n\n") if stanza.strip()]
    debs = tuple(_deb(folder, stanza) for stanza in stanzas)
    parts = (
        _bytes("Packages", packages),
        _bytes("Release", index),
        _bytes("InRelease", signing.sign_index(keys, index)),
        *debs,
    )
    text = f"format 1\nhost {host}\nrelease {release_id}\nissued {int(time.time())}\n" + "".join(
        part.line for part in parts
    )
    return SignedRelease(release_id, parts, signing.sign_text(keys, text, signing.MANIFEST))


def tests(keys: ReleaseKeys, host: str, bundle: bytes) -> tuple[str, bytes]:
    """A bundle of tests, signed for one host: its digest, and the tar that `toto-act tests` reads."""
    part = _bytes("bundle.tar", bundle)
    text = f"format 1\nhost {host}\ntests {part.digest}\n{part.line}"
    signature = signing.sign_text(keys, text, signing.MANIFEST).removeprefix(text)
    target = BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for made in (_bytes("manifest", text.encode()), _bytes("manifest.sig", signature.encode()), part):
            _add(tar, made)
    return part.digest, target.getvalue()


def order(keys: ReleaseKeys, host: str, kind: str, said: Mapping[str, str | int]) -> bytes:
    """A signed order: good once, for one host, for a while."""
    fixed = {"format": 1, "host": host, "kind": kind, "sequence": signing.next_sequence(keys)}
    lines = {**fixed, "expires": int(time.time()) + ORDER_SECONDS, **said}
    text = "".join(f"{key} {value}\n" for key, value in lines.items())
    return signing.sign_text(keys, text, signing.ORDER).encode()
