"""Fleet files into values, and each fault with its place."""
# ruff: noqa: E501 - tables of inputs read best in wide lines

from __future__ import annotations

import base64

import pytest

from server.core import fleet, toml_lines
from server.core.definition import Requirement
from server.core.errors import FleetFaults, Refused
from server.core.fleet_reader import LARGEST_SOURCE
from server.core.states import Backend
from server.core.tree import SUBMODULE
from tests.fakes.trees import MemoryTree, executable, link

HEAD = '[fleet]\nname = "home"\n'
WEB = '[hosts.web]\nbackend = "debian"\naddress = "web.lan"\n'
BASE = {"fleet.toml": HEAD + WEB, "hosts/web.toml": 'suite = "bookworm"\n'}
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode()


def told(files: dict) -> list[str]:
    return [str(fault) for fault in fleet.check(MemoryTree({**BASE, **files})).faults]


def host(text: str) -> list[str]:
    """Faults of fleet.toml with one more line in [hosts.web], which is line 6."""
    return told({"fleet.toml": HEAD + WEB + text + "\n"})


def own(text: str, **files: object) -> list[str]:
    """Faults of hosts/web.toml with more lines after its first."""
    return told({"hosts/web.toml": 'suite = "bookworm"\n' + text + "\n", **files})


def only(faults: list[str], *parts: str) -> None:
    assert len(faults) == 1, faults
    for part in parts:
        assert part in faults[0], faults


def test_a_sound_fleet_is_read_whole() -> None:
    text = HEAD + (
        'sources = ["deb http://deb.example.org/debian {suite} main", "deb http://x.example.org/s {suite}-security main"]\n'
        '[defaults]\nbackend = "debian"\nuser = "ops"\ntimeouts = { boot = "5m", test = 30 }\ntags = ["all-of-them"]\n'
        "[hosts.web]\n"
        'address = "192.0.2.7"\nport = 2222\njump = "me@gate.lan:22"\nwave = 2\ntags = ["edge", "edge"]\n'
        f'host_key = "{KEY} root@web"\ntimeouts = {{ boot = "10m" }}\nlimits = {{ memory = "1G", cpus = 4 }}\n'
        "[hosts.db]\n"
        'address = "2001:db8::1"\nconfig = "other/db.toml"\n'
    )
    tree = MemoryTree(
        {"fleet.toml": text, "hosts/web.toml": 'suite = "trixie"\n', "other/db.toml": 'suite = "bookworm"\n'}
    )
    found = fleet.load(tree)
    web, db = found.hosts
    assert (found.name, web.name, web.backend, web.user, web.port) == ("home", "web", Backend.DEBIAN, "ops", 2222)
    assert (web.jump, web.wave, web.tags, web.host_key) == ("me@gate.lan:22", 2, ("edge",), KEY)
    assert web.timeouts == {"boot": 600.0, "test": 30.0}
    assert web.limits == {"memory": 1024**3, "cpus": 4}
    assert (web.config, web.line) == ("hosts/web.toml", 9)
    assert (db.config, db.wave, db.port, db.tags) == ("other/db.toml", 1, 22, ("all-of-them",))
    assert fleet.evaluate(tree, found, "web").sources == (
        "deb http://deb.example.org/debian trixie main",
        "deb http://x.example.org/s trixie-security main",
    )


def test_a_host_is_its_file_and_its_includes() -> None:
    files = {
        "fleet.toml": HEAD + WEB,
        "hosts/web.toml": (
            'include = ["../roles/base.toml", "../roles/www.toml"]\npackages = ["nginx-light", "curl"]\n'
            '[files."/etc/motd"]\ncontent = "web"\n'
            '[files."/usr/local/bin/hello"]\nsource = "files/hello"\n'
            '[files."/etc/secret"]\nsource = "../shared/secret"\nmode = "0600"\nowner = "www-data:adm"\n'
            '[units]\nenable = ["nginx.service"]\n'
        ),
        "roles/base.toml": (
            'suite = "bookworm"\npackages = ["curl=7.88.*", "openssh-server"]\n[files."/etc/motd"]\ncontent = "base"\n'
            '[files."/etc/issue"]\ncontent = "base"\n[units]\nenable = ["ssh.service", "nginx.service"]\n'
        ),
        "roles/www.toml": 'include = ["base.toml"]\n[files."/etc/issue"]\ncontent = "www"\n',
        "hosts/files/hello": executable("#!/bin/sh\n"),
        "shared/secret": b"\xff\x00",
    }
    tree = MemoryTree(files)
    web = fleet.evaluate(tree, fleet.load(tree), "web")
    assert (web.name, web.suite) == ("web", "bookworm")
    assert web.packages == (Requirement("curl", "7.88.*"), Requirement("nginx-light"), Requirement("openssh-server"))
    assert web.enable == ("nginx.service", "ssh.service")
    assert [(str(f.path), f.content, f.mode, f.owner) for f in web.files] == [
        ("/etc/issue", b"www", 0o644, "root:root"),
        ("/etc/motd", b"web", 0o644, "root:root"),
        ("/etc/secret", b"\xff\x00", 0o600, "www-data:adm"),
        ("/usr/local/bin/hello", b"#!/bin/sh\n", 0o755, "root:root"),
    ]
    assert fleet.check(tree).described == set(files)


def test_comments_and_order_change_no_identity_and_a_shared_file_changes_both() -> None:
    def identities(**changed: str) -> dict[str, str]:
        files = {
            "fleet.toml": HEAD + WEB + '[hosts.db]\nbackend = "debian"\naddress = "db.lan"\n',
            "hosts/web.toml": 'suite = "bookworm"\ninclude = ["base.toml"]\npackages = ["b1", "a1"]\n',
            "hosts/db.toml": 'suite = "bookworm"\ninclude = ["base.toml"]\n',
            "hosts/base.toml": 'packages = ["c1"]\n[files."/etc/x"]\nsource = "x"\n',
            "hosts/x": "1",
            **changed,
        }
        checked = fleet.check(MemoryTree(files))
        assert not checked.faults
        return {name: definition.identity for name, definition in checked.hosts.items()}

    before = identities()
    reordered = '# hello\npackages = ["a1", "b1"] # ho\ninclude = ["base.toml"]\nsuite = "bookworm"\n'
    assert identities(**{"hosts/web.toml": reordered}) == before
    after = identities(**{"hosts/x": "2"})
    assert after["web"] != before["web"]
    assert after["db"] != before["db"]


def test_the_example_of_the_design() -> None:
    only(host('adress = "x"'), 'fleet.toml:6: unknown key "adress" in [hosts.web]; did you mean "address"?')


def test_all_faults_of_all_files_are_told_together_in_order() -> None:
    faults = told(
        {
            "fleet.toml": HEAD + WEB + 'prot = 1\n[hosts.db]\nbackend = "debain"\naddress = "-x"\n',
            "hosts/web.toml": 'suite = "Bookworm"\npackages = ["-y"]\n[units]\nenable = ["nginx"]\n',
        }
    )
    assert [fault.split(" ")[0] for fault in faults] == [
        "fleet.toml:6:", "fleet.toml:8:", "fleet.toml:9:", "hosts/web.toml:1:", "hosts/web.toml:2:", "hosts/web.toml:4:",
    ]  # fmt: skip


def test_a_fault_of_a_shared_file_is_told_once_and_spoils_both_hosts() -> None:
    checked = fleet.check(
        MemoryTree(
            {
                "fleet.toml": HEAD + WEB + '[hosts.db]\nbackend = "debian"\naddress = "db.lan"\n',
                "hosts/web.toml": 'include = ["base.toml"]\nsuite = "bookworm"\n',
                "hosts/db.toml": 'include = ["base.toml"]\nsuite = "bookworm"\n',
                "hosts/base.toml": 'packages = ["X"]\n',
            }
        )
    )
    assert len(checked.faults) == 1
    assert not checked.hosts
    assert checked.names == ("web", "db")


def test_load_and_evaluate_raise_all_their_faults() -> None:
    with pytest.raises(FleetFaults) as caught:
        fleet.load(MemoryTree({**BASE, "fleet.toml": HEAD + WEB + "a = 1\nb = 2\n"}))
    assert len(caught.value.faults) == 2
    tree = MemoryTree({**BASE, "hosts/web.toml": "a = 1\nb = 2\n"})
    found = fleet.load(tree)
    with pytest.raises(FleetFaults) as caught:
        fleet.evaluate(tree, found, "web")
    assert len(caught.value.faults) == 2
    with pytest.raises(Refused, match=r'there is no host "wb".*did you mean "web"'):
        fleet.evaluate(tree, found, "wb")


def test_nixos_hosts_need_their_file_and_are_not_built_yet() -> None:
    entry = HEAD + '[hosts.n1]\nbackend = "nixos"\naddress = "n1"\n'
    only(told({"fleet.toml": entry}), "fleet.toml:3:", "hosts/n1.nix", "flake.nix")
    for path in ("hosts/n1.nix", "flake.nix"):
        tree = MemoryTree({"fleet.toml": entry, path: "{}"})
        assert not fleet.check(tree).faults
        found = fleet.load(tree)
        assert found.hosts[0].config == path
        with pytest.raises(Refused, match="the nixos backend is not built yet"):
            fleet.evaluate(tree, found, "n1")


def test_fleet_toml_itself() -> None:
    only([str(f) for f in fleet.check(MemoryTree({})).faults], "fleet.toml: is missing")
    only(told({"fleet.toml": link("other.toml")}), "fleet.toml: is no plain file")
    only(told({"fleet.toml": HEAD + WEB + "[hosts.web]\n"}), "fleet.toml:6: is not TOML")
    only(told({"fleet.toml": "[fleet\n"}), "fleet.toml:1: is not TOML")
    only(told({"fleet.toml": "#" * (toml_lines.LARGEST + 1)}), "fleet.toml: ", "more than a fleet's file may have")
    only(told({"fleet.toml": WEB}), "fleet.toml: no table [fleet]")
    only(told({"fleet.toml": "[fleet]\n" + WEB}), "fleet.toml:1: [fleet] has no name")
    only(told({"fleet.toml": '[fleet]\nname = "a/b"\n' + WEB}), "fleet.toml:2: [fleet] name")
    only(
        told({"fleet.toml": HEAD + '[host.x]\na = "b"\n' + WEB}),
        'fleet.toml:3: unknown key "host"; did you mean "hosts"?',
    )
    only(told({"fleet.toml": HEAD + "hosts = 3\n"}), 'unknown key "hosts" in [fleet]')
    only(told({"fleet.toml": "hosts = 3\n" + HEAD}), "fleet.toml:1: hosts: wants a table, not a whole number")
    only(told({"fleet.toml": HEAD + "[hosts]\nweb = 3\n"}), "fleet.toml:4: [hosts] web: wants a table")
    only(told({"fleet.toml": HEAD + WEB + '[defaults]\nusr = "x"\n'}), 'fleet.toml:7: unknown key "usr" in [defaults]')
    only(told({"fleet.toml": HEAD + WEB + "[defaults]\nport = 0\n"}), "fleet.toml:7: [defaults] port: 0 is no port")


@pytest.mark.parametrize(
    "name", ["all", "lib", "-web", "Web", "we_b", "web-", "a.b", "w" * 64, "", "we b", "../x", "@x"]
)
def test_host_names(name: str) -> None:
    escaped = name.replace('"', "")
    only(told({"fleet.toml": f'{HEAD}[hosts."{escaped}"]\nbackend = "debian"\naddress = "x"\n'}), "fleet.toml:3: ")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('backend = "debain"', '"debain" is no backend; did you mean "debian"?'),
        ('backend = "windows"', '"windows" is no backend; there are debian and nixos'),
        ("backend = 3", "backend: wants text, not a whole number"),
        *[
            (f"address = {value}", "neither a host name nor an IP address")
            for value in (
                '"-oProxyCommand=x"', '"web lan"', '"web/lan"', '"a@b"', '"a\\nb"', '""', '"1.2.3.400"', '"a..b"', '"fe80::1%"',
                '"fe80::1%-x"', '"[::1]"', '"1.2.3.4%eth0"', '"a\\u0000"', "'a;b'", "'$(x)'", '"ä.de"',
            )
        ],
        *[(f"user = {value}", "no user name") for value in ('"-l"', '"a b"', '"a@b"', '"Root"', '""', '"a/b"')],
        *[
            (f"jump = {value}", "jump")
            for value in ('"-J"', '"a,b"', '"me@-x"', '"a:b:c"', '"me@x:99999"', '"a b"', '"-me@x"', '"[::1"', '"@x"', '"x/y"')
        ],
        *[(f"port = {value}", "port") for value in ("0", "65536", "-1", '"22"', "true", "2.5")],
        *[
            (f"host_key = {value}", "no host key")
            for value in (
                '"ssh-ed25519"', '"ssh-ed25519 AAAA"', '"ssh-ed25519 %%%"', '"ssh-dss AAAAB3NzaC1kc3M="', '""',
                f'"{KEY}\\nssh-rsa x"', f'"-{KEY}"', '"ssh-rsa ' + KEY.split()[1] + '"', f'"{KEY[:-8]}"',
            )
        ],
        *[(f"tags = [{value}]", "tags") for value in ('"@edge"', '"a b"', '""', "3", '"-x"')],
        ('tags = "edge"', "tags: wants a list, not text"),
        *[(f"wave = {value}", "wave") for value in ("-1", "1001", '"1"', "true")],
        ("timeouts = { boot = 0 }", "[hosts.web.timeouts] boot: a duration is more than nothing"),
        ('timeouts = { boot = "5x" }', "no duration"),
        ("timeouts = { boot = true }", "wants a number"),
        ("timeouts = { boott = 1 }", 'unknown key "boott" in [hosts.web.timeouts]; did you mean "boot"?'),
        ("timeouts = { memory = 1 }", 'unknown key "memory" in [hosts.web.timeouts]'),
        ("timeouts = 3", "timeouts: wants a table"),
        ('limits = { memory = "much" }', "[hosts.web.limits] memory: "),
        ("limits = { cpus = 0 }", "[hosts.web.limits] cpus: "),
        ("limits = { boot = 1 }", 'unknown key "boot" in [hosts.web.limits]'),
        ('config = "hosts/nothing.toml"', 'config: there is no file "hosts/nothing.toml"'),
        ('config = "hosts/wob.toml"', 'did you mean "hosts/web.toml"?'),
        ('config = "/etc/passwd"', "config: \"/etc/passwd\" is absolute"),
        ('config = "../x.toml"', "config: \"../x.toml\" leads out of the repository"),
        ('config = "hosts/../../x.toml"', "leads out of the repository"),
        ('config = "hosts"', "is a folder"),
        ('config = ""', "is no path"),
        ('config = "hosts/web.toml/x"', "is a file, not a folder"),
    ],
)  # fmt: skip
def test_keys_of_a_host(line: str, text: str) -> None:
    key = line.split(" ")[0]
    entry = "\n".join(each for each in WEB.splitlines() if not each.startswith(key))
    faults = told({"fleet.toml": f"{HEAD}{entry}\n{line}\n"})
    number = len(f"{HEAD}{entry}\n".splitlines()) + 1
    only(faults, f"fleet.toml:{number}: ", text)
    assert all(character.isprintable() for fault in faults for character in fault)


@pytest.mark.parametrize(
    "line",
    [
        'user = "_toto"', 'jump = "gate"', 'jump = "me@[2001:db8::1]:2222"', 'jump = "192.0.2.1:22"', "port = 65535", "wave = 0",
        'timeouts = { activation = "1h", tests = 90 }', 'tags = ["edge"]', f'host_key = "{KEY}"', "tags = []",
    ],
)  # fmt: skip
def test_sound_keys_of_a_host(line: str) -> None:
    assert host(line) == []


@pytest.mark.parametrize(
    "address", ["web", "web.lan.", "192.0.2.1", "::1", "fe80::1%eth0", "x_y.example.org", "1.2.3.a"]
)
def test_sound_addresses(address: str) -> None:
    assert told({"fleet.toml": HEAD + f'[hosts.web]\nbackend = "debian"\naddress = "{address}"\n'}) == []


def test_missing_keys_and_files_of_a_host() -> None:
    only(told({"fleet.toml": HEAD + '[hosts.web]\naddress = "x"\n'}), "fleet.toml:3: [hosts.web] has no backend")
    only(told({"fleet.toml": HEAD + '[hosts.web]\nbackend = "debian"\n'}), "fleet.toml:3: [hosts.web] has no address")
    text = HEAD + '[hosts.wob]\nbackend = "debian"\naddress = "x"\n'
    only(told({"fleet.toml": text}), 'fleet.toml:3: [hosts.wob]: there is no file "hosts/wob.toml"', "hosts/web.toml")
    only(told({"hosts/web.toml": "# nothing\n"}), "hosts/web.toml: no suite")
    only(told({"hosts/web.toml": "suite = \n"}), "hosts/web.toml:1: is not TOML")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("package = []", 'unknown key "package"; did you mean "packages"?'),
        ("packages = 3", "packages: wants a list"),
        ("packages = [3]", "packages: wants text"),
        *[
            (f"packages = [{value}]", "packages: ")
            for value in (
                '"-y"', '"nginx-"', '"nginx+"', '"Nginx"', '"a"', '""', '"a b"', '"nginx/sid"', '"./x.deb"', '"/x.deb"', '"nginx="',
                '"nginx=-1"', '"nginx=1.0-"', '"nginx=1.0+"', '"nginx=1 2"', '"nginx:"', '"nginx:-"', '"nginx:amd64:x"', '"~nx"',
                '"nginx=1;x"', '"nginx*"', '"$(x)"', '"a\\nb"', '"?x"', '"nginx=1=2"',
            )
        ],
        ('packages = ["curl=1.*", "curl=2.*"]', 'packages: "curl=2.*" here, but "curl=1.*" elsewhere'),
        ('files = "x"', "files: wants a table"),
        ('files."/etc/x" = "y"', 'wants a table'),
        *[
            (f'files."{value}".content = "x"', "files: ")
            for value in (
                "etc/x", "/", "//etc/x", "/etc/../x", "/etc//x", "/etc/./x", "/etc/x/", "/proc/x", "/sys/x", "/dev/x", "/run/x",
                "/var/lib/toto/x", "/etc/toto/x", "/usr/local/sbin/toto-act", "/var/run/x", "/lib/x", "/bin/x", "/proc", "/a\\nb",
                "/a\\u0000", "/var/lib/dpkg/status", "",
            )
        ],
        ('files."/etc/x" = { }', "wants a source or a content, and has neither"),
        ('files."/etc/x" = { source = "x", content = "y" }', "not both"),
        ('files."/etc/x" = { content = "y", mdoe = "0644" }', 'unknown key "mdoe" in [files."/etc/x"]; did you mean "mode"?'),
        ('files."/etc/x" = { content = 3 }', "content: wants text"),
        *[
            (f'files."/etc/x" = {{ content = "y", mode = {value} }}', "mode: ")
            for value in ("644", '"999"', '"4755"', '"1777"', '"-644"', '"0o644"', '"64"', '"00644"', '"rw"', '""')
        ],
        *[
            (f'files."/etc/x" = {{ content = "y", owner = {value} }}', "owner: ")
            for value in ('"root"', '"root:"', '"root:-x"', '"0:0"', '"root:root:root"', '"a b:c"', '"root.root"', "0")
        ],
        ('[units]\nenabled = []', 'unknown key "enabled" in [units]; did you mean "enable"?'),
        ('units.enable = "x.service"', "enable: wants a list"),
        *[
            (f"units.enable = [{value}]", "no unit")
            for value in ('"nginx"', '"-x.service"', '"../x.service"', '"a b.service"', '"x.exe"', '".service"', '"a\\n.service"')
        ],
    ],
)  # fmt: skip
def test_keys_of_a_hosts_own_file(line: str, text: str) -> None:
    only(own(line, **{"hosts/x": "1"}), f"hosts/web.toml:{1 + len(line.splitlines())}: ", text)


@pytest.mark.parametrize("suite", ["Bookworm", "-t", "book worm", "../x", "", "bookworm\\n", "a/b", "x" * 41])
def test_suites(suite: str) -> None:
    only(told({"hosts/web.toml": f'suite = "{suite}"\n'}), "hosts/web.toml:1: suite: ", "no Debian suite")


@pytest.mark.parametrize(
    "line",
    [
        'packages = ["g++", "libstdc++6", "libc6:amd64", "nginx=1.22.*", "x11-apps=7.7+9", "python3.11", "0ad"]',
        'packages = ["curl", "curl=7.88.*", "curl=7.88.*"]',
        'units.enable = ["a@b.service", "x.timer", "getty@.service", "dev-disk\\\\x2d1.mount"]',
        'files."/etc/x y" = { content = "ä", mode = "600", owner = "_apt:root" }',
        'files."/usr/lib/x".content = ""',
    ],
)
def test_sound_keys_of_a_hosts_own_file(line: str) -> None:
    assert own(line) == []


def test_packages_pinned_differently_across_includes() -> None:
    faults = own('include = ["a.toml"]\npackages = ["curl=2.*"]', **{"hosts/a.toml": 'packages = ["curl=1.*"]\n'})
    only(faults, 'hosts/web.toml:3: packages: "curl=2.*" here, but "curl=1.*" elsewhere')


def test_files_that_cannot_stand_beside_each_other() -> None:
    only(
        own('files."/etc/x".content = ""\nfiles."/etc/x/y".content = ""'), 'hosts/web.toml:3: files: "/etc/x" is a file'
    )


def test_includes() -> None:
    only(own('include = ["none.toml"]'), 'hosts/web.toml:2: include: there is no file "hosts/none.toml"')
    only(own('include = ["../../x.toml"]'), "leads out of the repository")
    only(own('include = ["/etc/x.toml"]'), "is absolute")
    only(own('include = "a.toml"'), "include: wants a list")
    only(
        own('include = ["web.toml"]'),
        "hosts/web.toml:2: include goes round in a circle: hosts/web.toml includes hosts/web.toml",
    )
    circle = {"hosts/a.toml": 'include = ["b.toml"]\n', "hosts/b.toml": '\ninclude = ["a.toml"]\n'}
    only(
        own('include = ["a.toml"]', **circle),
        "hosts/b.toml:2: include goes round in a circle: hosts/a.toml includes hosts/b.toml",
    )
    many = {f"hosts/{n}.toml": f'include = ["{n + 1}.toml"]\n' for n in range(100)}
    only(own('include = ["0.toml"]', **many), "files make up one host")


def test_sources_of_files() -> None:
    def source(path: str, **files: object) -> list[str]:
        return own(f'files."/etc/x".source = "{path}"', **files)

    assert source("files/x", **{"hosts/files/x": "1"}) == []
    assert source("../x", x="1") == []
    assert source("x", **{"hosts/x": link("../y/z"), "y": link("w"), "w/z": "1"}) == []
    only(source("x"), 'hosts/web.toml:2: [files."/etc/x"] source: there is no file "hosts/x"')
    only(source("../../x"), "leads out of the repository")
    only(source("/etc/shadow"), "is absolute")
    only(source("files", **{"hosts/files/x": "1"}), "is a folder")
    only(source("x", **{"hosts/x": link("/etc/shadow")}), '"hosts/x" links out of the repository')
    only(source("x", **{"hosts/x": link("../../etc/shadow")}), "leads out of the repository")
    only(source("d/x", **{"hosts/d": link("../..")}), "leads out of the repository")
    only(source("x", **{"hosts/x": link("x")}), "circle")
    only(source("x", **{"hosts/x": link("y")}), 'there is no file "hosts/y"')
    only(source("x", **{"hosts/x": (SUBMODULE, "")}), "is a submodule")
    only(source("s/x", **{"hosts/s": (SUBMODULE, "")}), "is a submodule")
    only(source("x", **{"hosts/x": (0o100777, "")}), "git's mode 100777")
    only(source("x", **{"hosts/x": b"x" * (LARGEST_SOURCE + 1)}), "more than a fleet's file may have")
    assert source("x\\u001b[31m") == ['hosts/web.toml:2: [files."/etc/x"] source: "x\\x1b[31m" is no path']


def test_links_and_what_they_lead_to_are_described() -> None:
    checked = fleet.check(
        MemoryTree(
            {
                "fleet.toml": HEAD + WEB,
                "hosts/web.toml": link("../roles/web.toml"),
                "roles/web.toml": 'suite = "bookworm"\nfiles."/etc/x".source = "d/x"\n',
                "roles/d": link("e"),
                "roles/e/x": "1",
                "README": "",
            }
        )
    )
    assert not checked.faults
    assert checked.described == {"fleet.toml", "hosts/web.toml", "roles/web.toml", "roles/d", "roles/e/x"}


def test_what_would_be_read_is_described() -> None:
    assert "hosts/x" in fleet.check(MemoryTree({**BASE, "hosts/web.toml": 'files."/etc/x".source = "x"\n'})).described


@pytest.mark.parametrize(
    "source",
    [
        "deb-src http://x.example.org/d {suite} main", "http://x.example.org/d {suite} main", "deb http://x.example.org/d",
        "deb http://x.example.org/d {suite}", "deb file:/srv/d {suite} main", "deb copy:/srv/d {suite} main",
        "deb [trusted=yes] http://x.example.org/d {suite} main", "deb [signed-by=/etc/shadow] http://x.example.org/d {suite} main",
        "deb [arch=amd64 trusted=yes] http://x.example.org/d {suite} main", "deb http://u:p@x.example.org/d {suite} main",
        "deb  http://x.example.org/d {suite} main", "deb http://x.example.org/d {suite} main\\ndeb http://y s main",
        "deb http://-x/d {suite} main", "deb http://x.example.org/d ../x main", "deb http://x.example.org/d {suite} -o",
        "deb http://x.example.org/d?a=b {suite} main", "deb http://x.example.org:0/d {suite} main", "deb http:///d {suite} main",
        "deb http://x.example.org/../../d {suite} main", "deb http://[::1/d {suite} main", "", "deb",
        "deb http://x.example.org/d ./ main", "deb http://x.example.org:99999/d {suite} main",
    ],
)  # fmt: skip
def test_apt_sources(source: str) -> None:
    only(told({"fleet.toml": f'{HEAD}sources = ["{source}"]\n{WEB}'}), "fleet.toml:3: [fleet] sources: ")


@pytest.mark.parametrize(
    "source",
    [
        "deb http://x.example.org/debian {suite} main contrib", "deb https://x.example.org:8443/d {suite}-security main",
        "deb [signed-by=/usr/share/keyrings/x.gpg] https://x.example.org/d stable main", "deb http://[::1]:80/d ./",
    ],
)  # fmt: skip
def test_sound_apt_sources(source: str) -> None:
    assert told({"fleet.toml": f'{HEAD}sources = ["{source}"]\n{WEB}'}) == []


def test_a_flood_of_faults_is_bounded() -> None:
    text = HEAD + WEB + "".join(f"k{n} = 1\n" for n in range(5000))
    assert len(told({"fleet.toml": text})) == 200
