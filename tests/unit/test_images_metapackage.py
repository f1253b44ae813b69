"""The package that is a host: its control file, its scripts, its bytes."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from jobs.images import debs, metapackage, repository
from server.core import releases
from server.core.config import Config
from server.core.control import paragraphs, render
from tests import images

GOLDEN = Path(__file__).parents[1] / "golden" / "host_package"
RELEASE = "ab" * 32
HOST = images.host(
    "nginx-light",
    files=(
        images.file("/etc/nginx/conf.d/site.conf", "listen 80;\n"),
        images.file("/usr/lib/systemd/system/demo.service", "[Service]\n"),
        images.file("/etc/demo/a b'c$d", "odd\n", 0o200, "www-data:adm"),
    ),
    enable=("nginx.service", "demo.service"),
)
LOCK = images.lock(images.locked("nginx-light", "1.22-9"), images.locked("libc6", "2:2.36", base=True))


@pytest.mark.parametrize("which", metapackage.NAMES)
def test_the_scripts_are_the_recorded_ones(which: str) -> None:
    """Where this fails on purpose: raise `metapackage.FORMAT` (a release's id stands for these), and record anew."""
    assert metapackage.script(which, HOST, RELEASE) == (GOLDEN / which).read_text()


@pytest.mark.parametrize("which", metapackage.NAMES)
def test_shellcheck_finds_nothing(which: str, tmp_path: Path) -> None:
    script = tmp_path / which
    script.write_text(metapackage.script(which, HOST, RELEASE))
    program = shutil.which("shellcheck")
    assert program, "shellcheck is not installed: script/setup --dev"
    # SC2034, SC2317, SC2329: the four scripts share their beginning, and none uses all of it.
    found = subprocess.run([program, "-e", "SC2034,SC2317,SC2329", str(script)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_control_pins_every_package_and_protects_itself() -> None:
    control = next(paragraphs(metapackage.control(HOST, LOCK, RELEASE)))
    assert control["Pre-Depends"] == "libc6 (= 2:2.36), nginx-light (= 1.22-9)"
    assert control["Protected"] == "yes"
    assert (control["Package"], control["Version"]) == ("toto-host-web", "1.abababababab")


def test_dpkg_takes_the_version() -> None:
    version = metapackage.version(RELEASE)
    assert subprocess.run(["dpkg", "--validate-version", version], check=False).returncode == 0


def build(config: Config, name: str) -> Path:
    scratch = config.folder(name)
    scratch.mkdir()
    return metapackage.build(images.plain_builder(config), scratch, HOST, LOCK, RELEASE, 60)


def content(deb: Path, tmp_path: Path) -> tarfile.TarFile:
    out = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
    return tarfile.open(fileobj=io.BytesIO(out))


def test_the_package_is_the_same_bytes_each_time(config: Config) -> None:
    assert build(config, "one").read_bytes() == build(config, "two").read_bytes()


def test_files_are_plain_files_of_root_and_no_conffiles(config: Config, tmp_path: Path) -> None:
    deb = build(config, "one")
    with content(deb, tmp_path) as archive:
        members = {member.name: member for member in archive}
    odd = members["./etc/demo/a b'c$d"]
    assert (odd.uname, odd.mode) == ("root", 0o600), "readable for nobody before postinst gives it its mode"
    assert members["./etc/nginx/conf.d/site.conf"].mode == 0o644
    scripts = subprocess.run(["dpkg-deb", "--ctrl-tarfile", str(deb)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(scripts)) as archive:
        assert sorted(archive.getnames()) == [".", "./control", "./postinst", "./postrm", "./preinst", "./prerm"]


def test_the_package_says_what_drift_is_measured_against(config: Config, tmp_path: Path) -> None:
    with content(build(config, "one"), tmp_path) as archive:
        sums = archive.extractfile("./usr/share/toto/files.sha256")
        release = archive.extractfile("./usr/share/toto/release")
        assert sums is not None and release is not None
        assert release.read().decode() == f"{RELEASE}\n"
        lines = sums.read().decode().splitlines()
    assert lines == [f"{entry.digest}  {entry.path}" for entry in metapackage.ordered(HOST)]


def test_a_debs_control_is_read_without_dpkg(config: Config) -> None:
    control = debs.control_of(images.plain_builder(config), build(config, "one"))
    assert control["Package"] == "toto-host-web"
    assert control["Description"] == f"the host web, as toto built it\n Release {RELEASE}."


def test_the_index_lists_files_by_name_with_digests(config: Config) -> None:
    control = {"Package": "a", "Version": "1", "Architecture": "all", "SHA256": "no"}
    stanza = repository.stanza(control, "a.deb", 7, "aa")
    index = repository.packages({"b.deb": render({"Package": "b"}), "a.deb": stanza})
    assert [entry["Package"] for entry in paragraphs(index.decode())] == ["a", "b"]
    assert next(paragraphs(stanza)) == {
        "Package": "a",
        "Version": "1",
        "Architecture": "all",
        "Filename": "debs/a.deb",
        "Size": "7",
        "SHA256": "aa",
    }


def test_release_names_the_origin_and_the_index(tmp_path: Path) -> None:
    index = b"Package: a\n"
    digest = repository.release(RELEASE, "bookworm", ["amd64", "all"], index, metapackage.EPOCH)
    repository.write(tmp_path, index, digest)
    said = next(paragraphs(digest.decode()))
    assert (said["Origin"], said["Label"]) == ("toto-abababababab", "toto")
    assert said["Date"] == "Wed, 01 Jan 2020 00:00:00 UTC"
    assert said["SHA256"] == f"\n {releases.sha256_of(tmp_path / 'Packages')} {len(index)} Packages"
