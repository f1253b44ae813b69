"""What of a VM's frames may reach passt: a small firewall between the two, in this process, without privileges.

passt hands a guest's packets to ordinary sockets of the host, so a guest that sends to 127.0.0.1 or to one of the
host's own addresses would speak to services of the host (tried: a connection to 127.0.0.1 arrived): `--no-map-gw`
closes only the gateway's address. QEMU and passt exchange frames over a stream, each after its length in four bytes;
whatever is not plainly allowed is dropped here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ARP, IPV4 = b"\x08\x06", b"\x08\x00"
UDP = 17
MAX_FRAME = 128 * 1024
"""Longer than any frame that QEMU makes; a larger length means that the stream is broken."""

NEVER = tuple(
    ipaddress.IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""This host, its loopback, link-local (with the clouds' metadata services), multicast, and what is no address."""


@dataclass(frozen=True)
class Rules:
    """What a guest may reach.

    Attributes:
        closed: Networks that it may not reach.
        resolver: The address that passt answers DNS for: only that, there.
    """

    closed: tuple[ipaddress.IPv4Network, ...]
    resolver: ipaddress.IPv4Address

    def allows(self, frame: bytes | memoryview) -> bool:
        """Whether a frame of the guest goes on."""
        kind = bytes(frame[12:14])
        if kind == ARP:
            return True
        if kind != IPV4 or len(frame) < 34 or frame[14] >> 4 != 4:
            return False
        goal = int.from_bytes(frame[30:34], "big")
        header = 14 + (frame[14] & 15) * 4
        port = int.from_bytes(frame[header + 2 : header + 4], "big") if frame[23] == UDP else None
        if goal == int(self.resolver):
            return port == 53
        if goal == 0xFFFFFFFF:
            return port == 67  # DHCP: passt answers it itself
        return not any(goal & int(net.netmask) == int(net.network_address) for net in self.closed)


def own_addresses(table: str | None = None) -> list[ipaddress.IPv4Address]:
    """Every IPv4 address of this machine, from the kernel's routing table (proc_net(5), fib_trie)."""
    text = Path("/proc/net/fib_trie").read_text() if table is None else table
    found = re.findall(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL", text)
    return sorted({ipaddress.IPv4Address(address) for address in found})


def rules(
    subnet: ipaddress.IPv4Network, resolver: ipaddress.IPv4Address, own: Iterable[ipaddress.IPv4Address]
) -> Rules:
    """The rules for a guest in `subnet`, on a host with the addresses `own`."""
    return Rules((*NEVER, subnet, *(ipaddress.IPv4Network(address) for address in own)), resolver)


@contextlib.contextmanager
def filtering(guest: socket.socket, passt: socket.socket, allowed: Rules) -> Iterator[None]:
    """Carry frames between the two sockets inside the block, in two threads. Both sockets are shut down at its end."""
    threads = [
        threading.Thread(target=_carry, args=(guest, passt, allowed), name="frames-out", daemon=True),
        threading.Thread(target=_carry, args=(passt, guest, None), name="frames-in", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        _shut(guest, passt)
        for thread in threads:
            thread.join(5)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _carry(source: socket.socket, sink: socket.socket, allowed: Rules | None) -> None:
    """Move bytes until one side is gone; then the other is told."""
    kept = b""
    try:
        while data := source.recv(256 * 1024):
            if allowed is not None:
                data, kept = sieve(kept + data, allowed)
            sink.sendall(data)
    except (OSError, ValueError):
        pass
    finally:
        _shut(source, sink)


def sieve(data: bytes, allowed: Rules) -> tuple[bytes, bytes]:
    """The frames of `data` that may pass, with their lengths; and the beginning of a frame that is not whole yet.

    Raises:
        ValueError: A length that no frame has.
    """
    passed: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if not 0 < length <= MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        if at + 4 + length > len(data):
            break
        whole = data[at : at + 4 + length]
        if allowed.allows(memoryview(whole)[4:]):
            passed.append(whole)
        at += 4 + length
    return b"".join(passed), data[at:]
