"""What single values of a fleet's files may be. Each function returns the value, or raises ValueError with a sentence.

Values end up in command lines of ssh and apt, in paths and in unit files on targets. So each is matched against what it
may be, whole; nothing is cleaned or quoted afterwards.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from server.core.definition import Requirement

RESERVED = ("all", "lib")
"""Folders of host_tests/ that mean something else; so no host is called like that."""
FORBIDDEN = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/var/lock",
    "/var/lib/toto",
    "/etc/toto",
    "/usr/local/sbin/toto-act",
    "/var/lib/dpkg",
)
"""Where a fleet puts no file: the kernel's and the running system's own, dpkg's records, and toto's own on a target."""
ALIASES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links into /usr on a merged Debian (usrmerge): the same file must not have two names."""
UNIT_KINDS = "service|socket|timer|path|target|mount|automount|swap|slice"

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_FLEET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SUITE = re.compile(r"[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_ARCHITECTURE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.+~:*?-]*")
_UNIT = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(?:@[A-Za-z0-9:_.\\-]*)?\.(?:{UNIT_KINDS})")
_URL_PATH = re.compile(r"[A-Za-z0-9._~/%+-]*")
_SOURCE_SUITE = re.compile(r"(?:\{suite\}|[A-Za-z0-9]|\./)(?:\{suite\}|[A-Za-z0-9./-])*")
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]*")
_SIGNED_BY = re.compile(r"signed-by=/(?:usr/share|etc/apt)/keyrings/[A-Za-z0-9][A-Za-z0-9._-]*\.(?:gpg|asc|pgp)")
_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def show(text: object, length: int = 80) -> str:
    """Pushed text as it may stand in a message: quoted, cut, and nothing in it that a terminal would obey."""
    said = str(text)
    cut = said if len(said) <= length else said[: length - 1] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'


def host_name(text: str) -> str:
    """A host's name: one label of RFC 1123 in lower case, since it becomes a host name, a package and a folder."""
    if text in RESERVED:
        raise ValueError(f"a host cannot be called {show(text)}: host_tests/{text} means something else")
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{show(text)} is no host name: 1 to 63 of a-z, 0-9 and -, not - at either end")
    return text


def fleet_name(text: str) -> str:
    """A fleet's name, shown on pages."""
    if not _FLEET.fullmatch(text):
        raise ValueError(f"{show(text)} is no name: letters, digits, `.`, `_` and `-`, a letter or digit first")
    return text


def address(text: str) -> str:
    """A host name of DNS, or an IPv4 or IPv6 address (without brackets)."""
    base, _, scope = text.partition("%")
    try:
        ipaddress.ip_address(base)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        if len(text) > 253 or not all(map(_DNS_LABEL.fullmatch, labels)) or labels[-1].isdigit():
            raise ValueError(f"{show(text)} is neither a host name nor an IP address") from None
        return text
    if "%" in text and (":" not in base or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", scope)):
        raise ValueError(f"{show(text)} is neither a host name nor an IP address")
    return text


def user(text: str) -> str:
    """A login name."""
    if not _USER.fullmatch(text):
        raise ValueError(f"{show(text)} is no user name: a-z, 0-9, `_`, `.` and `-`, at most 32, a letter or `_` first")
    return text


def jump(text: str) -> str:
    """One jump host as `[USER@]ADDRESS[:PORT]`, an IPv6 address in brackets."""
    login, at, rest = text.rpartition("@")
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::(\d{1,5}))?", rest)
    if match is None:
        raise ValueError(f'{show(text)} is no jump host: write "address", "user@address" or "user@address:port"')
    if at:
        user(login)
    address(match[1] or match[2])
    if match[3]:
        port(int(match[3]))
    return text


def port(number: int) -> int:
    """A TCP port."""
    if not 1 <= number <= 65535:
        raise ValueError(f"{number} is no port: 1 to 65535")
    return number


def wave(number: int) -> int:
    """A wave; lower ones are deployed first."""
    if not 0 <= number <= 1000:
        raise ValueError(f"{number} is no wave: 0 to 1000")
    return number


def tag(text: str) -> str:
    """A tag, without the `@` that stands before it where hosts are named."""
    if not _TAG.fullmatch(text):
        raise ValueError(f"{show(text)} is no tag: a-z, 0-9, `_`, `.` and `-`, a letter or digit first (no @ here)")
    return text


def host_key(text: str) -> str:
    """A public key as OpenSSH writes it, without its comment (RFC 4253, 6.6: a blob of fields, each with its length).

    The key's numbers are not checked, only that the blob is whole and of the type that it says.
    """
    words = text.split(" ")
    if any(not char.isprintable() for char in text) or len(words) < 2 or words[0] not in _KEY_TYPES:
        raise ValueError(f'{show(text)} is no host key: write "TYPE BASE64", TYPE one of {", ".join(_KEY_TYPES)}')
    try:
        fields = _fields(base64.b64decode(words[1], validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"{show(text)} is no host key: its base64 part is damaged") from None
    sizes = {"ssh-ed25519": 2}
    if fields[0] != words[0].encode() or len(fields) != sizes.get(words[0], 3):
        raise ValueError(f"{show(text)} is no host key: what it holds is no {words[0]} key")
    if words[0] == "ssh-ed25519" and len(fields[1]) != 32:
        raise ValueError(f"{show(text)} is no host key: an ed25519 key has 32 bytes, not {len(fields[1])}")
    return f"{words[0]} {words[1]}"


def _fields(blob: bytes) -> list[bytes]:
    found = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size or size == 0:
            raise ValueError("cut short")
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if not found:
        raise ValueError("empty")
    return found


def suite(text: str) -> str:
    """A Debian suite: `bookworm`, `trixie-backports`."""
    if len(text) > 40 or not _SUITE.fullmatch(text):
        raise ValueError(f'{show(text)} is no Debian suite: write its code name, as "bookworm"')
    return text


def package(text: str) -> Requirement:
    """A wanted package: `name`, `name:arch`, `name=pattern` (Debian Policy 5.6.1; apt-get(8), install).

    apt takes a `-` at the end for 'remove', a `+` for 'install', and `/` for a suite. Names such as `g++` end with two.
    """
    wanted, equals, version = text.partition("=")
    name, colon, architecture = wanted.partition(":")
    if not _PACKAGE.fullmatch(name) or (colon and not _ARCHITECTURE.fullmatch(architecture)):
        raise ValueError(f'{show(text)} is no package: write "name", "name:arch" or "name=version" (a-z, 0-9, + . -)')
    if name.endswith("-") or (name.endswith("+") and not name.endswith("++")):
        raise ValueError(f'{show(text)} is no package: apt reads the "{name[-1]}" at the end as an order')
    if equals and not _VERSION.fullmatch(version):
        raise ValueError(f'{show(text)} has no version after "=": write one as "curl=7.88.*"')
    if version.endswith(("-", "+")):
        raise ValueError(f'{show(text)} is no package: apt reads the "{version[-1]}" at the end as an order')
    return Requirement(wanted, version or None)


def target_path(text: str) -> PurePosixPath:
    """Where a file stands on a host: absolute, normal, and nobody else's."""
    path = PurePosixPath(text)
    if not text.isprintable() or len(text.encode()) > 1024:
        raise ValueError(f"{show(text)} is no path: it has control characters or is too long")
    if not text.startswith("/") or text.startswith("//") or str(path) != text or ".." in path.parts or text == "/":
        raise ValueError(f'{show(text)} is no path on a host: write it from "/", without "..", "//" and a last "/"')
    for place in FORBIDDEN:
        if path.is_relative_to(place):
            raise ValueError(f"{show(text)}: a fleet puts nothing into {place}")
    for alias in ALIASES:
        if path.is_relative_to(alias):
            raise ValueError(f'{show(text)}: {alias} is only a link on Debian; write "/usr{text}"')
    return path


def mode(text: str) -> int:
    """Permissions in octal. No setuid, setgid or sticky bit: a program that needs one comes in a package."""
    if not re.fullmatch(r"[0-7]{3,4}", text):
        raise ValueError(f'{show(text)} is no mode: write it in octal, as "0644"')
    number = int(text, 8)
    if number > 0o777:
        plain = f"0{number & 0o777:03o}"
        raise ValueError(f'{show(text)}: setuid, setgid and sticky bits are not given to files; write "{plain}"')
    return number


def owner(text: str) -> str:
    """A file's owner as `user:group`, both by name."""
    names = text.split(":")
    if len(names) != 2 or not all(map(_USER.fullmatch, names)):
        raise ValueError(f'{show(text)} is no owner: write "user:group", both by name')
    return text


def unit(text: str) -> str:
    """A systemd unit with its suffix (systemd.unit(5), 'String Escaping')."""
    if len(text) > 255 or not _UNIT.fullmatch(text):
        raise ValueError(f'{show(text)} is no unit: write it with its kind, as "nginx.service"')
    return text


def source(text: str) -> str:
    """One line of apt's sources (sources.list(5)): `deb [signed-by=…] URL SUITE COMPONENT…`, `{suite}` is the host's.

    `signed-by` is the only option: others, such as `trusted=yes`, would turn apt's own checks off.
    """
    words = text.split(" ")
    if not text.isprintable() or words[0] != "deb" or "" in words:
        raise ValueError(f'{show(text)} is no apt source: write one line, "deb URL {{suite}} main", with single spaces')
    if words[1:] and words[1].startswith("["):
        option = words.pop(1)
        if not option.endswith("]") or not _SIGNED_BY.fullmatch(option[1:-1]):
            raise ValueError(f"{show(text)}: the only option is [signed-by=/usr/share/keyrings/NAME.gpg]")
    if len(words) < 3:
        raise ValueError(f'{show(text)} is no apt source: write "deb URL {{suite}} main"')
    _mirror(text, words[1])
    exact = words[2].endswith("/")
    if not _SOURCE_SUITE.fullmatch(words[2]) or ".." in words[2] or exact != (not words[3:]):
        raise ValueError(f"{show(text)}: {show(words[2])} is no suite with its components")
    if bad := [word for word in words[3:] if not _COMPONENT.fullmatch(word) or ".." in word]:
        raise ValueError(f"{show(text)}: {show(bad[0])} is no component")
    return text


def _mirror(text: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        raise ValueError(f"{show(text)}: {show(url)} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{show(text)}: {show(url)} is no http or https URL")
    if "@" in parts.netloc:
        raise ValueError(f"{show(text)}: no user or password here; they belong into apt's auth.conf on the builder")
    address(parts.hostname)
    plain = _URL_PATH.fullmatch(parts.path) and "/../" not in f"{parts.path}/"
    if number == 0 or parts.query or parts.fragment or not plain:
        raise ValueError(f"{show(text)}: {show(url)} is no plain URL of a mirror")
