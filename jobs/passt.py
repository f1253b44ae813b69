"""A VM's way out: passt, as an unprivileged user, plugged into the running machine and pulled out again.

What lies behind it: whatever this builder can reach over IPv4, its own local networks included, so that tests find
the same mirrors, proxies and services as the builder does. What never does (`jobs.passt_filter`): the builder's
loopback, any address of its own, link-local addresses (clouds' metadata among them), multicast. Names are asked through
passt from the builder's own resolver, which may listen on its loopback: DNS to it is the only thing that gets there.
Nothing can connect in. Addresses that the builder gains after the way out was made are not known to it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from jobs.machine_qemu import SPARE_PORT, unprivileged
from jobs.passt_filter import filtering, own_addresses, rules
from jobs.qmp import Qmp
from server.core import process
from server.core.errors import VmTrouble

SUBNET = ipaddress.IPv4Network("198.18.116.0/24")
"""Of RFC 2544's range for benchmarks: nobody's local network has these addresses."""
ADDRESS, GATEWAY, RESOLVER = SUBNET[15], SUBNET[2], SUBNET[3]
MAC = "52:54:00:74:6f:02"
PLUG_SECONDS = 60.0

SCRIPTS = Path(__file__).with_name("guest_root")
"""`online` and `offline` run in the VM; they are sent there, and no part of its image."""


class Runner(Protocol):
    """Runs a command in the VM (`Machine.run`)."""

    def __call__(self, command: str, *, timeout: float, data: bytes | IO[bytes] | None = None) -> process.Result:
        """Run it."""
        ...


def passt_argv(channel: int) -> list[str]:
    """Command of passt on an open socket: IPv4 only, nothing forwarded in, the gateway not mapped to the host.

    The builder's resolver is the first of its resolv.conf, which passt reads: named by `--dns`, it would not be asked.
    """
    return [
        process.tool("passt"), "--foreground", "--stderr", "--fd", str(channel), "--ipv4-only", "--no-map-gw",
        "--address", str(ADDRESS), "--netmask", str(SUBNET.prefixlen), "--gateway", str(GATEWAY),
        "--tcp-ports", "none", "--udp-ports", "none", "--search", "none", "--dns-forward", str(RESOLVER),
    ]  # fmt: skip


@contextlib.contextmanager
def way_out(qmp: Qmp, run: Runner, shared: Path) -> Iterator[None]:
    """A card behind passt in the machine, configured; at the end pulled out, and the machine's network as it was.

    Leaving the block cuts the way out first, on this side, whatever the machine does about it.

    Args:
        qmp: The machine's monitor.
        run: Runs a command in the machine.
        shared: The folder that the sandbox has as `/shared`.

    Raises:
        VmTrouble: passt did not start, or the machine could not be set up.
    """
    with contextlib.ExitStack() as stack:
        _script(run, "online", "prepare", MAC)
        _connect(stack, qmp, shared / "out")
        _script(run, "online", "up", MAC, f"{ADDRESS}/{SUBNET.prefixlen}", str(GATEWAY), str(RESOLVER))
        yield


def _connect(stack: contextlib.ExitStack, qmp: Qmp, door: Path) -> None:
    """passt, the filter before it, and the card before that."""
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    said = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    with theirs:
        passt = stack.enter_context(
            process.started(
                passt_argv(theirs.fileno()), env={"PATH": process.PATH}, output=said,
                pass_fds=[theirs.fileno()], cwd=Path("/"), grace=2, **unprivileged(),
            )
        )  # fmt: skip
    guest = stack.enter_context(_plug(qmp, door))
    stack.enter_context(filtering(guest, ours, rules(SUBNET, RESOLVER, own_addresses())))
    qmp.execute("device_add", {
        "driver": "virtio-net-pci", "id": "out-card", "netdev": "out", "mac": MAC, "bus": SPARE_PORT, "romfile": "",
    })  # fmt: skip
    if passt.poll() is not None:
        said.seek(0)
        last = said.read(8192).decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise VmTrouble(
            f"passt ended with {passt.poll()}: {last[0]}", mend="run `toto doctor`: the builder needs an IPv4 route out"
        )


def _plug(qmp: Qmp, door: Path) -> socket.socket:
    """Our end of QEMU's new netdev.

    By a path: QEMU 7.2 takes the name of a descriptor (`getfd`), and then looks for it where it cannot be found.
    """
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        try:
            listening.listen(1)
            door.chmod(0o666)  # the folder is private; the sandbox's user may be another than ours
            address = {"type": "unix", "path": f"/shared/{door.name}"}
            qmp.execute("netdev_add", {"type": "stream", "id": "out", "server": False, "addr": address})
            listening.settimeout(PLUG_SECONDS)
            try:
                return listening.accept()[0]
            except TimeoutError as error:
                raise VmTrouble("QEMU did not connect the VM's new card") from error
        finally:
            door.unlink(missing_ok=True)


def pull_out(qmp: Qmp, run: Runner) -> None:
    """Take the card out of the machine, restore what `online` changed, and see that nothing but `lo` is left.

    Raises:
        VmTrouble: The machine did not give the card up, or another card is in it.
    """
    qmp.execute("device_del", {"id": "out-card"})
    qmp.wait_event("DEVICE_DELETED", PLUG_SECONDS)
    qmp.execute("netdev_del", {"id": "out"})
    _script(run, "offline", MAC)


def _script(run: Runner, name: str, *arguments: str) -> None:
    command = process.pasteable(["/bin/sh", "-s", "--", *arguments])
    result = run(command, timeout=PLUG_SECONDS + 30, data=(SCRIPTS / name).read_bytes())
    if result.code != 0:
        last = (result.stderr.decode(errors="replace").strip() or result.text).splitlines()[-1:] or ["it said nothing"]
        raise VmTrouble(f"the VM's network could not be brought {name}: {last[0]}", where=name)
