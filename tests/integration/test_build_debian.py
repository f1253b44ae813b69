"""Real builds from real archives: lock, release, image; again without a network; and what cannot be built."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.images import apt_sources, debian, debs
from jobs.images.unprivileged import builder
from server.core import releases
from server.core.config import Config
from server.core.definition import DebianHost
from server.core.errors import BuildRefused, Trouble
from tests import images
from tests.images import KeptLog, file

pytestmark = pytest.mark.vm

DISK = 2 * 1024**3
HOST = images.host(
    "nginx-light",
    "sed=4.*",
    files=(
        file("/etc/nginx/nginx.conf", "events {}\n# toto's own\n"),
        file("/etc/secret", "nobody else's\n", 0o600, "www-data:www-data"),
    ),
    enable=("nginx.service",),
)


class Built:
    """One build, and the lock it was made from."""

    def __init__(self, config: Config) -> None:
        self.log = KeptLog()
        self.config = config
        self.lock = debian.resolve(config, HOST, self.log)
        self.release = debian.build_release(config, HOST, self.lock, "c" * 40, self.log)
        self.image = self.make_image()

    def make_image(self) -> debian.Image:
        return debian.build_image(self.config, self.release, "web", b"", self.log, disk_bytes=DISK)


@pytest.fixture(scope="module")
def built(image_config: Config) -> Built:
    return Built(image_config)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's sources lead nowhere."""
    codename = apt_sources.machine_codename()
    (tmp_path / "sources.list").write_text(f"deb http://127.0.0.1:9/nowhere {codename} main\n")
    monkeypatch.setattr(apt_sources, "ETC", tmp_path)


def inside(image: debian.Image, request: str) -> str:
    """What debugfs says of the disk."""
    argv = ["debugfs", "-R", request, str(image.disk)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_the_lock_has_everything_and_nothing_recommended(built: Built) -> None:
    names = {package.name: package for package in built.lock.packages}
    assert {"libc6", "systemd-sysv", "openssh-server", "nginx-light", "nginx-common"} <= set(names)
    assert not any(name.startswith("linux-image") for name in names), "the VM's kernel is no package of the host"
    assert "apparmor" not in names, "only recommended"
    assert names["libc6"].base and names["systemd-sysv"].base and not names["nginx-light"].base
    assert names["sed"].version.startswith("4.")


def test_the_lock_is_the_same_again(built: Built) -> None:
    assert debian.resolve(built.config, HOST, built.log).digest == built.lock.digest


def test_a_release_is_whole_and_unsigned(built: Built) -> None:
    found = releases.open(built.config, built.release.id)
    assert len(found.debs) == len(built.lock.packages) + 1
    assert not (found.path / "InRelease").exists()
    cached = debs.place(builder(built.config), found.packages[0].sha256)
    assert (found.path / "debs" / found.packages[0].file).stat().st_ino == cached.stat().st_ino, "a hard link"


def test_the_image_holds_the_host_and_nothing_else(built: Built) -> None:
    status = inside(built.image, "cat /var/lib/dpkg/status")
    installed = {line.removeprefix("Package: ") for line in status.splitlines() if line.startswith("Package: ")}
    assert installed == {package.name for package in built.lock.packages} | {"toto-host-web"}
    assert status.count("\nStatus: install ok installed\n") == len(installed)
    assert "toto's own" in inside(built.image, "cat /etc/nginx/nginx.conf")
    assert "worker_processes" in inside(built.image, "cat /var/lib/toto/diverted/etc/nginx/nginx.conf")
    assert inside(built.image, "cat /etc/hostname") == "web\n"
    assert inside(built.image, "cat /usr/share/toto/release") == f"{built.release.id}\n"
    assert "Mode:  0600" in inside(built.image, "stat /etc/secret")
    assert "User:    33   Group:    33" in inside(built.image, "stat /etc/secret")


@pytest.mark.parametrize(
    "path",
    [
        "/usr/sbin/policy-rc.d",
        "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "/etc/apt/sources.list",
        "/run/toto",
        "/dev/null",
        "/etc/resolv.conf",
    ],
)
def test_the_image_keeps_nothing_of_the_build(built: Built, path: str) -> None:
    argv = ["debugfs", "-R", f"stat {path}", str(built.image.disk)]
    assert "File not found" in subprocess.run(argv, capture_output=True, text=True, check=True).stderr


def test_the_kernels_modules_lie_in_the_image_beside_dpkg(built: Built) -> None:
    versions = inside(built.image, "ls -p /usr/lib/modules").split("/")
    version = next(part for part in versions if part.startswith("6."))
    assert "kernel/" in inside(built.image, f"cat /usr/lib/modules/{version}/modules.dep")
    assert built.image.kernel.stat().st_size > 1024**2


def test_the_disk_is_sparse_whole_and_read_only(built: Built) -> None:
    stat = built.image.disk.stat()
    assert stat.st_size == DISK and stat.st_blocks * 512 < DISK // 2 and stat.st_mode & 0o222 == 0
    assert subprocess.run(["e2fsck", "-nf", str(built.image.disk)], capture_output=True).returncode == 0


@pytest.mark.usefixtures("no_network")
def test_built_again_without_a_network_it_is_the_same_release(built: Built) -> None:
    before = images.folder_bytes(built.release.path)
    builder(built.config).remove(built.release.path)
    again = debian.build_release(built.config, HOST, built.lock, "c" * 40, built.log)
    after = images.folder_bytes(again.path)
    for said in (before, after):
        said.pop("release.json")  # says when it was made
    assert after == before
    builder(built.config).remove(built.image.disk.parent)
    assert built.make_image().disk.exists()


@pytest.mark.usefixtures("no_network")
def test_without_a_network_a_new_lock_is_trouble_and_not_the_engineers_fault(built: Built) -> None:
    with pytest.raises(Trouble, match="cannot be fetched"):
        debian.resolve(built.config, images.host("htop"), built.log)


def test_an_image_is_made_once(built: Built) -> None:
    before = built.image.disk.stat()
    again = built.make_image().disk.stat()
    assert (again.st_ino, again.st_mtime) == (before.st_ino, before.st_mtime)


def test_a_damaged_package_is_fetched_again(built: Built) -> None:
    package = next(package for package in built.lock.packages if package.name == "nginx-light")
    path = debs.place(builder(built.config), package.sha256)
    path.unlink()
    path.write_bytes(b"damaged")
    log = KeptLog()
    debian.build_release(built.config, HOST, built.lock, "c" * 40, log)
    assert log.lines[0].startswith("the cached nginx-light_") and releases.sha256_of(path) == package.sha256


def test_nothing_is_left_behind(built: Built) -> None:
    assert list(built.config.folder("tmp").iterdir()) == []
    assert str(built.config.data) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (("nginx-ligth",), 'no package "nginx-ligth" (did you mean "nginx-light"?)'),
        (("curl=99.*",), 'package "curl" has no version 99.* in bookworm'),
        (("exim4-daemon-light", "postfix"), "these packages cannot be together: "),
        (("mail-transport-agent",), 'package "mail-transport-agent" exists in name only'),
        (("sysvinit-core",), "these packages cannot be together: "),
    ],
)
def test_what_cannot_be_resolved_is_refused_in_a_sentence(built: Built, packages: tuple[str, ...], said: str) -> None:
    with pytest.raises(BuildRefused) as told:
        debian.resolve(built.config, images.host(*packages), built.log)
    assert said in str(told.value) and str(told.value).startswith("host web: ")
    assert "\n" not in str(told.value)


def test_a_suite_that_does_not_exist_is_refused(built: Built) -> None:
    with pytest.raises(BuildRefused, match='no suite "bookwurm"'):
        debian.resolve(built.config, images.host(suite="bookwurm"), built.log)


def image_of(built: Built, host: DebianHost, disk: int = DISK) -> None:
    release = debian.build_release(built.config, host, built.lock, "c" * 40, built.log)
    debian.build_image(built.config, release, "web", b"", built.log, disk_bytes=disk)


def test_an_owner_or_a_unit_that_the_host_lacks_is_refused(built: Built) -> None:
    with pytest.raises(BuildRefused, match="/etc/x: the host has no owner nobody-here:root"):
        image_of(built, images.host(files=(file("/etc/x", "x", 0o644, "nobody-here:root"),)))
    with pytest.raises(BuildRefused, match=r"the unit nothing\.service cannot be enabled"):
        image_of(built, images.host(enable=("nothing.service",)))
    test_nothing_is_left_behind(built)


def test_a_host_that_does_not_fit_on_the_disk_is_refused(built: Built) -> None:
    with pytest.raises(BuildRefused, match="does not fit on the VM's disk of 100 MiB"):
        image_of(built, HOST, 100 * 1024**2)


def test_what_the_host_brings_runs_apart_from_this_machine(built: Built) -> None:
    """A file of the host that dpkg runs (a hook of its configuration) finds neither the data folder nor a network."""
    found = "ls -d /var/tmp/toto-b.* /work 2>/dev/null; ls /sys/class/net; cat /proc/net/route | tail -n +2"
    hook = f"post-invoke={{ {found}; echo hook-ran; }} >>/etc/seen 2>&1\n"
    host = images.host(files=(file("/etc/dpkg/dpkg.cfg.d/hook", hook),))
    release = debian.build_release(built.config, host, built.lock, "c" * 40, built.log)
    image = debian.build_image(built.config, release, "web", b"", built.log, disk_bytes=DISK)
    assert set(inside(image, "cat /etc/seen").split()) == {"lo", "hook-ran"}
