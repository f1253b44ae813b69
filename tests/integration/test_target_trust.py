"""What a target believes: what toto's release key has signed, and nothing else; tried by abuse."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy import enrol, manifest, signing
from deploy.backend import backend
from deploy.debian import DebianTarget
from host_tests.bundle import bundle
from host_tests.suite_values import Suite
from server.core.config import Config, Limits
from server.core.errors import TargetTrouble
from tests.targets import Builder, Log, Machine, TinyRelease, free_port, machine

pytestmark = pytest.mark.target

EMPTY = bundle(Suite("web", ()))
BOUNDS = {"activation": 20, "contact": 20, "deadman": 60, "lock": 1}


@dataclass
class Bench:
    machine: Machine
    config: Config
    target: DebianTarget
    release: TinyRelease
    other: TinyRelease


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("trust")
    config = Config(data=folder / "data")
    with machine(folder) as made:
        made.enrol(config)
        target = backend(config, made.entry, Limits(activation=60, tests=60))
        assert isinstance(target, DebianTarget)
        builder = Builder(folder / "builder")
        release = builder.release(builder.package("toto-demo", "1.0"))
        target.send(release, EMPTY, Log())
        yield Bench(made, config, target, release, builder.release(builder.package("toto-demo", "2.0")))


def want(bench: Bench, text: str, release: str | None = None) -> tuple[int, str]:
    result = bench.target._say("want", release or bench.other.id, data=text.encode())
    return result.code, result.stderr.decode()


def signed(bench: Bench, **changes: object) -> manifest.SignedRelease:
    keys, host = changes.get("keys", bench.target.keys), str(changes.get("host", "web"))
    assert isinstance(keys, signing.ReleaseKeys)
    return manifest.release(keys, host, bench.other.id, bench.other.path)


def test_manifest_of_another_key_host_release_or_purpose_is_refused(bench: Bench, tmp_path: Path) -> None:
    good = signed(bench).manifest
    for text, sentence in (
        (good.replace("host web", "host wab"), "not toto's"),
        (good.partition("-----BEGIN")[0], "not toto's"),
        ("", "not toto's"),
        (signed(bench, keys=signing.keys(tmp_path / "other")).manifest, "not toto's"),
        (signed(bench, host="db").manifest, "signed for another host: db"),
        (manifest.order(bench.target.keys, "web", "activate", {"release": bench.other.id}).decode(), "not toto's"),
    ):
        code, said = want(bench, text)
        assert code == 25 and sentence in said, text[:80]
    assert want(bench, good, "0" * 64)[0] == 25
    assert bench.machine.root("ls /var/lib/toto/releases") == bench.release.id


@pytest.mark.parametrize("path", ["../../../../etc/cron.d/x", "a/../../x", "/etc/x", "-x", "a b"])
def test_manifest_whose_paths_climb_is_refused_even_if_signed(bench: Bench, path: str) -> None:
    text = f"format 1\nhost web\nrelease {bench.other.id}\nfile {'0' * 64} 1 {path}\n"
    code, said = want(bench, signing.sign_text(bench.target.keys, text, signing.MANIFEST))
    assert code == 28 and "manifest" in said


def upload(bench: Bench, members: dict[str, bytes], links: dict[str, str] | None = None) -> tuple[int, str]:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, goal in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            tar.addfile(member)
    result = bench.target._say("receive", bench.other.id, data=target.getvalue())
    return result.code, result.stderr.decode()


def test_upload_that_is_not_what_was_signed_does_not_take_the_name(bench: Bench) -> None:
    whole = signed(bench)
    members = {part.path: part.content or Path(str(part.source)).read_bytes() for part in whole.parts}
    deb = "debs/toto-demo_2.0_all.deb"
    for broken, links in (
        ({**members, deb: members[deb][:-1] + b"x"}, None),
        ({**members, "Packages": members["Packages"].replace(b"2.0", b"2.1")}, None),
        ({name: content for name, content in members.items() if name != deb}, None),
        ({name: content for name, content in members.items() if name != deb}, {deb: "/etc/shadow"}),
        ({}, None),
    ):
        assert want(bench, whole.manifest)[0] == 0
        assert upload(bench, broken, links)[0] == 28
    assert upload(bench, {})[0] in (17, 28), "not without a manifest"
    assert bench.machine.root("ls /var/lib/toto/releases") == bench.release.id
    bench.target.send(bench.other, EMPTY, Log())
    assert bench.other.id in bench.machine.root("ls /var/lib/toto/releases")
    bench.machine.root(f"rm -r /var/lib/toto/releases/{bench.other.id}")


def test_members_beside_the_manifest_are_not_unpacked(bench: Bench) -> None:
    whole = signed(bench)
    members = {part.path: part.content or Path(str(part.source)).read_bytes() for part in whole.parts}
    assert want(bench, whole.manifest)[0] == 0
    code, _ = upload(bench, {"evil": b"x", "../evil": b"x", **members})
    assert code in (0, 28)
    assert bench.machine.root("find / -xdev -name evil") == ""
    bench.machine.root(f"rm -rf /var/lib/toto/releases/{bench.other.id}")


def test_index_that_names_what_the_manifest_does_not_is_refused(bench: Bench) -> None:
    whole = signed(bench)
    parts = tuple(part for part in whole.parts if not part.path.endswith("toto-demo_2.0_all.deb"))
    text = f"format 1\nhost web\nrelease {bench.other.id}\n" + "".join(part.line for part in parts)
    assert want(bench, signing.sign_text(bench.target.keys, text, signing.MANIFEST))[0] == 0
    code, said = upload(bench, {part.path: part.content or Path(str(part.source)).read_bytes() for part in parts})
    assert code == 28 and "index" in said


def test_tests_with_another_signature_or_content_are_refused(bench: Bench, tmp_path: Path) -> None:
    digest, good = manifest.tests(bench.target.keys, "web", b"other bytes")
    assert bench.target._say("tests", digest, data=good.replace(b"other bytes", b"other bytez")).code == 28
    _, foreign = manifest.tests(signing.keys(tmp_path / "other"), "web", b"other bytes")
    assert bench.target._say("tests", digest, data=foreign).code == 25
    _, for_db = manifest.tests(bench.target.keys, "db", b"other bytes")
    assert bench.target._say("tests", digest, data=for_db).code == 25
    assert digest not in bench.machine.root("ls /var/lib/toto/tests")


def activate(bench: Bench, run: str, data: bytes) -> int:
    return bench.target._say("preflight", run, bench.release.id, data=data).code


def test_order_is_good_once_for_one_run_one_host_and_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, said = bench.target.keys, {"run": "7", "release": bench.release.id, "generation": 1, **BOUNDS}
    early = manifest.order(keys, "web", "activate", said)
    good = manifest.order(keys, "web", "activate", said)
    assert activate(bench, "8", good) == 25, "for another run"
    assert activate(bench, "7", good) == 26, "its number was used"
    assert activate(bench, "7", early) == 26, "an older one, kept back"
    assert activate(bench, "7", manifest.order(keys, "db", "activate", said)) == 25
    assert activate(bench, "7", manifest.order(keys, "web", "confirm", said)) == 25
    with monkeypatch.context() as past:
        now = time.time()
        past.setattr(time, "time", lambda: now - manifest.ORDER_SECONDS - 5)
        old = manifest.order(keys, "web", "activate", said)
    assert activate(bench, "7", old) == 26
    assert activate(bench, "7", manifest.order(keys, "web", "activate", said)) == 0
    assert bench.target._say("confirm", "7", data=manifest.order(keys, "web", "undo", {"run": "7"})).code == 25
    assert bench.target._say("confirm", "7", data=b"").code == 25


def shell(bench: Bench, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    ssh = bench.target.ssh
    argv = ssh.argv(command)
    at = argv.index("--")
    return subprocess.run([*argv[:at], *options, *argv[at:]], capture_output=True, text=True, timeout=30, input="")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "sh",
        "id",
        "hello; id",
        "hello && id",
        "hello | id",
        "hello $(id)",
        "hello `id`",
        "hello\nid",
        "-h",
        "--help",
        "hello extra",
        "state ../../etc",
        "state *",
        "log 7 x",
        "state '7 8'",
        "rollback 7 asked",
        "run 7",
        "boot",
        "ended 7",
        "/bin/sh",
        "-u root id",
        "preflight 7",
        f"state {'7' * 65}",
        "want ../x",
        "TOTO_LIB_DIR=/tmp hello",
        "tests ..",
    ],
)
def test_key_starts_toto_act_with_sound_words_and_nothing_else(bench: Bench, command: str) -> None:
    done = shell(bench, command)
    assert done.returncode != 0 and "uid=" not in done.stdout + done.stderr, done
    assert "root" not in done.stdout


def test_key_opens_no_terminal_no_files_no_forwards(bench: Bench) -> None:
    ssh = bench.target.ssh
    assert "PTY allocation request failed" in shell(bench, "hello", "-tt").stderr
    sftp = [
        "sftp",
        "-F",
        "none",
        "-b",
        "-",
        "-i",
        str(ssh.key),
        "-P",
        str(ssh.port),
        "-o",
        f"UserKnownHostsFile={ssh.known_hosts}",
    ]
    done = subprocess.run(
        [*sftp, "-o", "HostKeyAlias=web", "toto@127.0.0.1"], input="ls /\n", capture_output=True, text=True, timeout=30
    )
    assert done.returncode != 0 and "etc" not in done.stdout
    port = free_port()
    forward = ["-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:22"]
    shell(bench, "hello", *forward)
    through = shell(bench, "hello", "-W", "127.0.0.1:22")
    assert "administratively prohibited" in through.stderr or through.returncode != 0
    remote = shell(bench, "hello", "-o", "ExitOnForwardFailure=yes", "-R", "2222:127.0.0.1:22")
    assert remote.returncode != 0


def test_other_key_and_changed_host_key_and_closed_port_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    stranger = dataclasses.replace(bench.target.ssh, key=signing.deploy_key(tmp_path / "keys"))
    with pytest.raises(TargetTrouble, match="refuses toto's key"):
        dataclasses.replace(bench.target, ssh=stranger).facts()
    changed = tmp_path / "known"
    changed.write_text("web " + signing.deploy_key(tmp_path / "keys").with_suffix(".pub").read_text())
    with pytest.raises(TargetTrouble, match="host key is not the pinned one"):
        dataclasses.replace(bench.target, ssh=dataclasses.replace(bench.target.ssh, known_hosts=changed)).facts()
    with pytest.raises(TargetTrouble, match=r"nothing listens at 127\.0\.0\.1 port"):
        dataclasses.replace(bench.target, ssh=dataclasses.replace(bench.target.ssh, port=free_port())).facts()


def test_target_of_another_name_is_told(bench: Bench) -> None:
    with pytest.raises(TargetTrouble, match='it calls itself "web"'):
        dataclasses.replace(bench.target, name="db").facts()


def test_pin_reads_the_key_that_the_target_has(bench: Bench) -> None:
    pinned = enrol.pin(bench.config, bench.machine.entry)
    assert pinned.key == bench.machine.host_key
    assert pinned.fingerprint in bench.machine.root("ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub")
    with pytest.raises(TargetTrouble, match="shows no ed25519 host key"):
        enrol.pin(bench.config, dataclasses.replace(bench.machine.entry, port=free_port()))


def test_enrolling_again_is_no_fault_and_keeps_what_is_there(bench: Bench) -> None:
    before = bench.target.facts()
    assert "is enrolled" in bench.machine.enrol(bench.config)
    assert bench.target.facts().release == before.release
    assert bench.machine.root("stat -c '%U %a' /etc/sudoers.d/toto /usr/local/sbin/toto-act") == "root 440\nroot 755"
    assert bench.machine.root("ls -A /etc/sudoers.d | grep new", check=False) == ""
