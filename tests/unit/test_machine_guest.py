from __future__ import annotations

import io
import tarfile
import threading

import pytest

from jobs.guest import ALIAS, HOME, ROOT, UNIT, guest_files, guest_keys
from server.core import process
from server.core.config import Config


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def test_the_archive_is_the_same_each_time(config: Config) -> None:
    assert guest_files(config) == guest_files(config)


def test_the_archive_touches_nothing_of_the_host(config: Config) -> None:
    allowed = (HOME, f"etc/systemd/system/{UNIT}", f"etc/systemd/system/sysinit.target.wants/{UNIT}")
    assert [name for name in members(guest_files(config)) if not name.startswith(allowed)] == []


def test_secrets_in_the_archive_are_roots_alone(config: Config) -> None:
    found = members(guest_files(config))
    for name in ("host_key", "shadow"):
        assert found[f"{HOME}/{name}"].mode == 0o600
    assert found[f"{HOME}/door"].mode == 0o755
    assert b"PRIVATE KEY" not in (config.folder("keys", "vm") / "client.pub").read_bytes()


def test_the_keys_are_private_and_pinned(config: Config) -> None:
    keys = guest_keys(config)
    assert keys.client.stat().st_mode & 0o777 == 0o600
    assert keys.client.parent.stat().st_mode & 0o777 == 0o700
    assert keys.known_hosts.read_text().split()[:2] == [ALIAS, "ssh-ed25519"]
    assert keys.known_hosts.read_text().split()[2] == keys.host.with_suffix(".pub").read_text().split()[1]


def test_many_at_once_make_one_pair_of_keys(config: Config) -> None:
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(guest_keys(config).client.read_bytes())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 6 and len(set(seen)) == 1


@pytest.mark.parametrize("name", ["network", "door", "enter", "online", "offline"])
def test_the_scripts_are_clean_shell(name: str) -> None:
    result = process.run(["shellcheck", "-s", "sh", "-S", "info", str(ROOT / name)], timeout=60, check=False)
    assert result.code == 0, result.text
