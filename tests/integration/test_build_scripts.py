"""The scripts of `toto-host-NAME` under real dpkg, in a real base: up, down, away; files and units come back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.images import base, debian, metapackage
from jobs.images.unprivileged import Builder, ensure_builder, namespace
from server.core.config import Config
from server.core.definition import DebianHost
from tests import images
from tests.images import file

pytestmark = pytest.mark.vm

LISTENER = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
ONE = images.host(files=(file("/etc/demo.d/one", "one 1\n"),))
TWO = images.host(
    files=(
        file("/etc/demo.conf", "toto's own\n", 0o640, "root:mail"),
        file("/etc/by-hand", "toto's own\n"),
        file("/usr/lib/demo/aliased", "toto's own\n"),
        file("/etc/demo.d/a b'$x", "odd\n"),
        file("/etc/systemd/system/own.service", LISTENER),
    ),
    enable=("own.service", "demo.service", "ssh.service"),
)

ENTER = """\
set -eu
root=$1; shift
mount -t overlay overlay -o "userxattr,lowerdir=$BASE,upperdir=$STATE/upper,workdir=$STATE/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
for name in null urandom; do : >"$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
mkdir "$root/run/debs"
mount --bind "$DEBS" "$root/run/debs"
cat >"$root/run/script"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -eu /run/script
"""


class Root:
    """A root over the base in which scripts run; what they change stays until the test ends."""

    def __init__(self, builder: Builder, base_root: Path, scratch: Path, debs: Path) -> None:
        self.builder = builder
        self.scratch = scratch
        self.env = {"BASE": str(base_root), "STATE": str(scratch), "DEBS": str(debs)}
        for name in ("upper", "work", "root"):
            builder.folder(scratch / name)

    def sh(self, script: str) -> str:
        """What a script prints in there."""
        argv = namespace(["sh", "-c", ENTER, "enter", str(self.scratch / "root")])
        result = self.builder.run(argv, timeout=120, env=self.env, data=script.encode(), check=False)
        assert result.code == 0, (result.stdout + result.stderr).decode()
        return result.text

    def install(self, *debs: Path) -> None:
        """dpkg -i, with the path of each in there."""
        self.sh(f"dpkg -i --force-unsafe-io {' '.join(f'/run/debs/{deb.name}' for deb in debs)}")

    def diversions(self) -> str:
        return self.sh("dpkg-divert --list '*' | grep toto || :")


@pytest.fixture(scope="module")
def base_root(image_config: Config) -> Path:
    """The base of a host without packages of its own."""
    log = images.KeptLog()
    host = images.host()
    release = debian.build_release(image_config, host, debian.resolve(image_config, host, log), "c" * 40, log)
    return base.ensure(ensure_builder(image_config), release, 600, log)


def demo(builder: Builder, folder: Path, version: str) -> Path:
    """A package with a conffile, a unit that is not enabled, and a file in a folder that merged /usr made an alias."""
    root = folder / f"demo-{version}"
    files = {
        "etc/demo.conf": f"default {version}\n",
        "lib/demo/aliased": f"package's {version}\n",
        "lib/systemd/system/demo.service": LISTENER,
        "DEBIAN/conffiles": "/etc/demo.conf\n",
        "DEBIAN/control": f"Package: demo\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: t <t@example.org>\nDescription: demo\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    deb = folder / f"demo_{version}_all.deb"
    builder.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(deb)], timeout=60)
    return deb


@pytest.fixture
def root(image_config: Config, base_root: Path) -> Iterator[Root]:
    builder = ensure_builder(image_config)
    with builder.scratch("scripts") as scratch:
        os.umask(0o022)
        debs = builder.folder(scratch / "debs")
        yield Root(builder, base_root, scratch, debs)


def package(root: Root, host: DebianHost, release: str) -> Path:
    """`toto-host-web` of a host, with dpkg's own package as its whole lock."""
    debs = Path(root.env["DEBS"])
    version = root.sh("dpkg-query -W -f '${Version}' dpkg")
    lock = images.lock(images.locked("dpkg", version))
    with root.builder.scratch("package") as scratch:
        made = metapackage.build(root.builder, scratch, host, lock, release, 60)
        return made.rename(debs / made.name)


def test_up_and_down_and_away(root: Root) -> None:
    debs = Path(root.env["DEBS"])
    old, new = demo(root.builder, debs, "1"), demo(root.builder, debs, "2")
    one, two = package(root, ONE, "1" * 64), package(root, TWO, "2" * 64)
    root.install(old)
    root.sh("echo 'made by hand' >/etc/by-hand")
    root.install(one)
    assert "one 1" in root.sh("cat /etc/demo.d/one")

    root.install(two)
    now = "stat -c '%a %U:%G' /etc/demo.conf; cat /etc/demo.conf /etc/by-hand /usr/lib/demo/aliased"
    assert root.sh(f"{now}; test ! -e /etc/demo.d/one") == "640 root:mail\ntoto's own\ntoto's own\ntoto's own"
    assert "odd" in root.sh('cat "/etc/demo.d/a b\'\\$x"')
    enabled = "systemctl is-enabled own.service demo.service ssh.service || :"
    assert root.sh(enabled).split() == ["enabled"] * 3
    assert root.sh("sort /var/lib/toto/enabled").split() == ["demo.service", "own.service"]
    assert root.sh("cd / && sha256sum --quiet -c /usr/share/toto/files.sha256; dpkg -V toto-host-web") == ""

    root.install(new)
    assert "toto's own" in root.sh("cat /etc/demo.conf; cat /lib/demo/aliased"), "another package's upgrade leaves ours"

    root.install(one)
    back = 'cat /etc/demo.conf /etc/by-hand /usr/lib/demo/aliased /etc/demo.d/one; test ! -e "/etc/demo.d/a b\'\\$x"'
    assert root.sh(back) == "default 2\nmade by hand\npackage's 2\none 1"
    assert root.diversions().count("\n") == 0 and "/etc/demo.d/one" in root.diversions()
    links = root.sh("find /etc/systemd/system -name own.service -o -name demo.service")
    assert links == "", "units that toto had enabled are disabled, their links gone"
    assert root.sh("systemctl is-enabled ssh.service") == "enabled", "a unit that was enabled before stays"

    root.install(two)
    root.install(one)
    root.sh("dpkg -r --force-remove-protected toto-host-web")
    assert root.diversions() == ""
    left = "ls /var/lib/toto/diverted /etc/demo.d 2>/dev/null | grep . || :; dpkg --audit"
    assert root.sh(f"cat /etc/demo.conf /etc/by-hand; {left}") == "default 2\nmade by hand"


def test_removed_at_once_what_was_there_comes_back(root: Root) -> None:
    root.install(demo(root.builder, Path(root.env["DEBS"]), "1"))
    root.sh("echo 'made by hand' >/etc/by-hand")
    root.install(package(root, TWO, "2" * 64))
    root.sh("dpkg -P --force-remove-protected toto-host-web")
    assert root.sh("cat /etc/demo.conf /etc/by-hand /lib/demo/aliased") == "default 1\nmade by hand\npackage's 1"
    assert root.diversions() == ""
    assert root.sh("systemctl is-enabled demo.service || :") == "disabled"
    assert root.sh("find /etc/systemd/system -name own.service; dpkg --audit") == ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (
            images.host(files=(file("/etc/x", "x", 0o644, "nobody-here:root"),)),
            "toto-host-web: /etc/x: the host has no owner nobody-here:root",
        ),
        (images.host(enable=("nothing.service",)), "toto-host-web: the unit nothing.service cannot be enabled"),
    ],
)
def test_what_the_host_lacks_is_said(root: Root, host: DebianHost, said: str) -> None:
    deb = package(root, host, "3" * 64)
    assert said in root.sh(f"dpkg -i /run/debs/{deb.name} 2>&1 || :")
