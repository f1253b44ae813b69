from __future__ import annotations

import ipaddress
import socket
import struct

import pytest

from jobs.passt import ADDRESS, GATEWAY, RESOLVER, SUBNET, passt_argv
from jobs.passt_filter import Rules, filtering, own_addresses, rules, sieve

TABLE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        +-- 192.0.2.0/28 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
     |-- 172.17.0.1
        /32 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
"""


def frame(to: str, *, protocol: int = 6, port: int = 80, kind: bytes = b"\x08\x00", header: int = 5) -> bytes:
    ports = struct.pack(">HH", 40000, port)
    ip = struct.pack(">BBHHHBBH4s4s", 0x40 | header, 0, 40, 1, 0, 64, protocol, 0, ADDRESS.packed, socket.inet_aton(to))
    return b"\x02" * 6 + b"\x03" * 6 + kind + ip + b"\x00" * (header * 4 - 20) + ports + b"\x00" * 16


@pytest.fixture
def allowed() -> Rules:
    return rules(SUBNET, RESOLVER, own_addresses(TABLE))


def test_own_addresses_are_those_of_the_local_table() -> None:
    assert [str(address) for address in own_addresses(TABLE)] == ["172.17.0.1", "192.0.2.2"]


def test_this_machines_own_addresses_are_found() -> None:
    assert ipaddress.IPv4Address("127.0.0.1") in own_addresses()


@pytest.mark.parametrize(
    "to",
    ["127.0.0.1", "127.8.9.10", "0.0.0.0", "192.0.2.2", "172.17.0.1", "169.254.169.254", "224.0.0.1", str(GATEWAY),
     str(SUBNET[99])],
)  # fmt: skip
def test_the_builders_own_services_are_closed(allowed: Rules, to: str) -> None:
    assert not allowed.allows(frame(to))
    assert not allowed.allows(frame(to, protocol=17, port=53))


@pytest.mark.parametrize("to", ["192.0.2.3", "203.0.113.80", "10.1.2.3"])
def test_the_rest_is_open(allowed: Rules, to: str) -> None:
    assert allowed.allows(frame(to))


def test_the_resolver_answers_dns_and_nothing_else(allowed: Rules) -> None:
    assert allowed.allows(frame(str(RESOLVER), protocol=17, port=53))
    assert allowed.allows(frame(str(RESOLVER), protocol=17, port=53, header=8))
    assert not allowed.allows(frame(str(RESOLVER), protocol=17, port=54))
    assert not allowed.allows(frame(str(RESOLVER), protocol=6, port=53))


def test_only_dhcp_is_broadcast(allowed: Rules) -> None:
    assert allowed.allows(frame("255.255.255.255", protocol=17, port=67))
    assert not allowed.allows(frame("255.255.255.255", protocol=17, port=9))


def test_arp_passes_and_other_protocols_do_not(allowed: Rules) -> None:
    assert allowed.allows(b"\xff" * 12 + b"\x08\x06" + b"\x00" * 28)
    for kind in (b"\x86\xdd", b"\x81\x00", b"\x88\xa8"):
        assert not allowed.allows(frame("203.0.113.80", kind=kind))
    sound = frame("203.0.113.80")
    for broken in (b"", b"\x08", sound[:33], sound.replace(b"\x08\x00\x45", b"\x08\x00\x65")):
        assert not allowed.allows(broken)


def packed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(each)) + each for each in frames)


def test_frames_are_sieved_wherever_the_stream_is_cut(allowed: Rules) -> None:
    good, bad = frame("203.0.113.80"), frame("127.0.0.1")
    stream = packed(good, bad, good, bad, bad, good)
    for size in (1, 3, 7, 60, 1000):
        passed, kept = b"", b""
        for at in range(0, len(stream), size):
            out, kept = sieve(kept + stream[at : at + size], allowed)
            passed += out
        assert passed == packed(good, good, good)
        assert kept == b""


def test_an_impossible_length_ends_the_stream(allowed: Rules) -> None:
    with pytest.raises(ValueError, match="frame of 0 bytes"):
        sieve(b"\x00\x00\x00\x00", allowed)
    with pytest.raises(ValueError, match="frame of"):
        sieve(b"\xff\xff\xff\xff", allowed)


def test_frames_flow_both_ways_until_the_block_ends(allowed: Rules) -> None:
    (guest, ours_guest), (passt, ours_passt) = socket.socketpair(), socket.socketpair()
    for each in (guest, passt):
        each.settimeout(5)
    with guest, passt, ours_guest, ours_passt:
        with filtering(ours_guest, ours_passt, allowed):
            good, bad = packed(frame("203.0.113.80")), packed(frame("127.0.0.1"))
            guest.sendall(bad + good)
            assert passt.recv(4096) == good
            passt.sendall(bad)
            assert guest.recv(4096) == bad
        assert passt.recv(10) == b"" and guest.recv(10) == b""


def test_passt_maps_nothing_of_the_host() -> None:
    argv = passt_argv(7)
    assert {"--no-map-gw", "--ipv4-only"} <= set(argv)
    assert argv[argv.index("--tcp-ports") + 1] == "none" == argv[argv.index("--udp-ports") + 1]
    assert argv[argv.index("--fd") + 1] == "7"
