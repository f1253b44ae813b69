"""Release keys: made once, kept private, believed by the tools that a Debian target has."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from deploy import manifest, signing
from server.core.errors import Trouble
from tests.targets import Builder

RELEASE = b"Origin: toto-abc\nSHA256:\n e3b0 0 Packages\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> signing.ReleaseKeys:
    return signing.keys(tmp_path_factory.mktemp("keys") / "release")


def test_keys_are_made_once_and_only_their_owner_reads_them(keys: signing.ReleaseKeys) -> None:
    before = keys.ssh.read_bytes(), keys.openpgp.read_bytes()
    assert signing.keys(keys.folder) == keys
    assert (keys.ssh.read_bytes(), keys.openpgp.read_bytes()) == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in (keys.folder, keys.ssh, keys.openpgp)] == [
        0o700,
        0o600,
        0o600,
    ]


def test_deploy_key_is_made_once(tmp_path: Path) -> None:
    first = signing.deploy_key(tmp_path / "deploy").read_bytes()
    assert signing.deploy_key(tmp_path / "deploy").read_bytes() == first


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc/self/ns/user").exists(), reason="no way to a read-only folder"
)
def test_folder_that_cannot_be_had_is_the_operators_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Trouble, match="the keys cannot be made"):
        signing.keys(tmp_path / "file" / "release")


def test_gpgv_accepts_the_index_and_not_an_altered_one(keys: signing.ReleaseKeys, tmp_path: Path) -> None:
    signed = signing.sign_index(keys, RELEASE)
    (tmp_path / "key.gpg").write_bytes(keys.certificate)

    def gpgv(content: bytes) -> int:
        (tmp_path / "InRelease").write_bytes(content)
        (tmp_path / "out").unlink(missing_ok=True)
        command = ["gpgv", "--keyring", tmp_path / "key.gpg", "--output", tmp_path / "out", tmp_path / "InRelease"]
        return subprocess.run(command, capture_output=True).returncode

    assert gpgv(signed) == 0
    assert (tmp_path / "out").read_bytes().rstrip() == RELEASE.rstrip()
    assert gpgv(signed.replace(b"toto-abc", b"toto-abd")) != 0


def verify(keys: signing.ReleaseKeys, folder: Path, text: str, namespace: str) -> int:
    body, mark, signature = text.partition("-----BEGIN SSH SIGNATURE-----")
    (folder / "signers").write_text(keys.allowed_signers)
    (folder / "sig").write_text(mark + signature)
    command = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        folder / "signers",
        "-I",
        "toto",
        "-n",
        namespace,
        "-s",
        folder / "sig",
    ]
    return subprocess.run(command, input=body.encode(), capture_output=True).returncode


def test_orders_are_signed_for_one_purpose(keys: signing.ReleaseKeys, tmp_path: Path) -> None:
    text = manifest.order(keys, "web", "confirm", {"run": "7"}).decode()
    assert verify(keys, tmp_path, text, signing.ORDER) == 0
    assert verify(keys, tmp_path, text, signing.MANIFEST) != 0
    assert verify(keys, tmp_path, text.replace("run 7", "run 8"), signing.ORDER) != 0
    other = signing.keys(tmp_path / "other")
    assert verify(other, tmp_path, text, signing.ORDER) != 0


def test_order_says_what_for_whom_until_when(keys: signing.ReleaseKeys) -> None:
    said = dict(
        line.split(" ", 1) for line in manifest.order(keys, "web", "activate", {"run": "7"}).decode().splitlines()[:6]
    )
    assert (said["host"], said["kind"], said["run"]) == ("web", "activate", "7")
    assert 0 < int(said["expires"]) - time.time() <= manifest.ORDER_SECONDS


def test_sequence_only_grows_even_where_the_clock_does_not(
    keys: signing.ReleaseKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = signing.next_sequence(keys)
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    assert [signing.next_sequence(keys), signing.next_sequence(keys)] == [first + 1, first + 2]


def test_manifest_names_every_file_with_its_digest(keys: signing.ReleaseKeys, tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    made = builder.release(builder.package("toto-demo", "1.0"))
    signed = manifest.release(keys, "web", made.id, made.path)
    assert [part.path for part in signed.parts] == [
        "Packages",
        "Release",
        "InRelease",
        "debs/toto-host-web_1_all.deb",
        "debs/toto-demo_1.0_all.deb",
    ]
    assert all(part.line in signed.manifest for part in signed.parts)
    assert f"\nrelease {made.id}\n" in signed.manifest


def test_release_with_a_file_missing_or_cut_is_not_signed(keys: signing.ReleaseKeys, tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    made = builder.release(builder.package("toto-demo", "1.0"))
    deb = made.path / "debs/toto-demo_1.0_all.deb"
    deb.unlink()
    with pytest.raises(Trouble, match=r"toto-demo.* is not there"):
        manifest.release(keys, "web", made.id, made.path)
    deb.write_bytes(b"short")
    with pytest.raises(Trouble, match="has 5 bytes"):
        manifest.release(keys, "web", made.id, made.path)
    (made.path / "Packages").write_text("Package: x\nFilename: ../../etc/passwd\nSHA256: 0\nSize: 1\n")
    with pytest.raises(Trouble, match="not there"):
        manifest.release(keys, "web", made.id, made.path)
