"""A run's VM: QEMU in a sandbox without network, reached by SSH over a unix socket.

Whatever ends the run, nothing of it is left: QEMU and the relay die with the sandbox, the sandbox with the thread that
started it (so enter `machine` in a thread that lives as long as the VM is wanted), the overlay has no name from the
start, and the one folder that has (for sockets) is locked while it is used and swept by the next VM.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from jobs.acceleration import acceleration
from jobs.guest import ALIAS, guest_keys
from jobs.machine_console import Console
from jobs.machine_folder import socket_folder
from jobs.machine_qemu import Descriptors, machine_argv, qemu_binary, unprivileged
from jobs.passt import pull_out, way_out
from jobs.qmp import Qmp
from server.core import process
from server.core.config import Config, Limits
from server.core.errors import Refused, VmTrouble
from server.core.recorder import StageLog
from server.core.ssh import LOST, Ssh

if TYPE_CHECKING:
    from jobs.images.debian import Image

DOOR = "door"
"""The socket behind which the VM's sshd answers, in the VM's socket folder."""
SPARE_DISK = 512 * 1024**2
"""Bytes that have to be free where the VM's overlay lies."""
MONITOR_SECONDS = 60.0
"""How long QEMU may take to start: it reads no disk until then."""


class BootFailed(Refused):
    """The VM started, but what was pushed did not come up in it: the engineer's matter."""


class Child(Protocol):
    """A running process, as far as it matters here."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        ...


class Machine:
    """A VM that runs. `machine` makes one.

    Attributes:
        name: The host's name, which it has.
        ssh: The way to run commands in it.
        scratch: A private folder of this side that goes with it.
        console: What it prints on its serial console.
        online: Whether it has a way out.
        started: When QEMU started, on the monotonic clock.
        limits: Bounds of the run.
    """

    def __init__(
        self, name: str, qemu: Child, qmp: Qmp, console: Console, ssh: Ssh, limits: Limits, complaints: IO[bytes],
        scratch: Path, stack: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        self.name = name
        self.scratch = scratch
        self._qemu = qemu
        self._qmp = qmp
        self._complaints = complaints
        self._stack = stack
        self.online = False
        self._online = stack.enter_context(contextlib.ExitStack())
        self.console = console
        self.ssh = ssh
        self.limits = limits
        self.started = time.monotonic()

    def greet(self) -> None:
        """Wait until QEMU runs.

        Raises:
            VmTrouble: It did not start.
        """
        try:
            self._qmp.greet(MONITOR_SECONDS)
        except VmTrouble as error:
            deadline = time.monotonic() + 2
            while (code := self._qemu.poll()) is None and time.monotonic() < deadline:
                time.sleep(0.05)
            ended = "does not answer" if code is None else f"ended with {code}"
            raise VmTrouble(
                f"the VM could not be started: QEMU {ended}: {self.complaint()}",
                mend="run `toto doctor`: it says what this machine lacks",
            ) from error

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs."""
        return self._qemu.poll() is None

    def run(
        self,
        command: str,
        *,
        timeout: float,
        data: bytes | IO[bytes] | None = None,
        on_stdout: process.Sink | None = None,
        on_stderr: process.Sink | None = None,
        check: bool = False,
        limit: int = 64 * 1024 * 1024,
        stop: Callable[[], bool] | None = None,
    ) -> process.Result:
        """Run a shell command in it as root, in the machine's own namespaces; like `Ssh.run`.

        Raises:
            Refused: The machine panicked or went off meanwhile.
            CommandFailed: It did not end with 0, and `check` was set.
        """
        result = self.ssh.run(
            command,
            timeout=timeout,
            data=data,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            check=False,
            limit=limit,
            stop=stop,
        )
        if result.code != 0 and not (stop is not None and stop()):
            self.check_alive(wait=1.0 if result.code == LOST else 0.0)
        if check and (result.timed_out or result.code != 0):
            raise process.failure(result, result.stdout[-4096:] + result.stderr[-4096:], timeout)
        return result

    def check_alive(self, *, wait: float = 0.0) -> None:
        """Nothing, while it runs (and where it still does after `wait` seconds).

        Raises:
            BootFailed: Its kernel panicked, or it switched itself off.
            VmTrouble: QEMU ended by itself.
        """
        deadline = time.monotonic() + wait
        while self.alive and self.console.panic is None:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.05)
        if self.console.panic is None:
            self.console.drained(2.0)
        if self.console.panic is not None:
            raise BootFailed(
                f"the VM's kernel panicked: {self.console.panic}", mend="the console's end is in the stage's log"
            )
        if self._qemu.poll() == 0:
            raise BootFailed(
                f"the VM switched itself off; the last line on its console: {self.console.last_line()}",
                mend="look for what powers the host off or reboots it",
            )
        raise VmTrouble(f"QEMU ended with {self._qemu.poll()}: {self.complaint()}", mend="run `toto doctor`")

    def complaint(self) -> str:
        """What QEMU or the sandbox printed last."""
        self._complaints.seek(0)
        lines = self._complaints.read(65536).decode(errors="replace").split("\n")
        return " / ".join(line.strip() for line in lines[-6:] if line.strip()) or "it said nothing"

    def wait_ready(self, seconds: float, stopped: Callable[[], bool]) -> float:
        """Wait until it answers SSH; returns the seconds since QEMU's start.

        Raises:
            BootFailed: Its kernel panicked, it went off, or SSH did not answer within `seconds` of QEMU's start.
            VmTrouble: QEMU ended, or `stopped` said so.
        """
        deadline = self.started + seconds
        while time.monotonic() < deadline:
            if stopped():
                raise VmTrouble("the boot was cancelled")
            self.check_alive()
            if self._greets(min(2.0, max(0.1, deadline - time.monotonic()))) and self._open(deadline, stopped):
                return time.monotonic() - self.started
        raise BootFailed(
            f"SSH did not answer within {seconds:g} s; the last line on the VM's console: {self.console.last_line()}",
            mend="read the console's end in the stage's log; a slow but sound boot wants a longer timeouts.boot",
        )

    def _greets(self, timeout: float) -> bool:
        """Whether an sshd says its banner; much cheaper than a client that tries."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout)
            try:
                probe.connect(str(self._door))
                if probe.recv(4) == b"SSH-":
                    return True
            except OSError:
                pass
        time.sleep(max(0.0, 0.2 - (time.monotonic() - began)))
        return False

    @property
    def _door(self) -> Path:
        assert self.ssh.control is not None  # noqa: S101 - machine() sets it
        return self.ssh.control.with_name("in") / DOOR

    def _open(self, deadline: float, stopped: Callable[[], bool]) -> bool:
        """Open the shared connection, and see that a command runs over it."""
        assert self.ssh.control is not None  # noqa: S101 - machine() sets it
        fresh = self.ssh.argv("true")
        at = fresh.index("--")
        options = [*fresh[1:at], "-o", "ControlMaster=yes", "-N"]
        # The first setting counts for ssh(1), so the master's own stand before those of Ssh.
        options = ["-o", "ControlMaster=yes", "-o", "ControlPersist=no", *options]
        self._stack.enter_context(process.started(["ssh", *options, *fresh[at:-1]], grace=1))
        until = min(deadline, time.monotonic() + 60)
        while not self.ssh.control.exists():
            if time.monotonic() > until or stopped() or not self.alive:
                return False
            time.sleep(0.02)
        return self.ssh.run("true", timeout=max(1.0, until - time.monotonic()), stop=stopped).code == 0

    def go_online(self) -> None:
        """Give it a way out (see `jobs.passt` for what lies behind it); nothing where it has one.

        Raises:
            VmTrouble: passt did not start, or the machine's network could not be set up.
        """
        if not self.online:
            with contextlib.ExitStack() as fresh:
                fresh.enter_context(way_out(self._qmp, self.run, self._door.parent))
                self._online.push(fresh.pop_all())
            self.online = True

    def go_offline(self) -> None:
        """Cut the way out, and see that nothing of it is left in the machine; nothing where it has none.

        Raises:
            VmTrouble: The machine did not give its card up, or still has a route out.
        """
        if self.online:
            self._online.close()
            self.online = False
            pull_out(self._qmp, self.run)


@contextlib.contextmanager
def machine(config: Config, image: Image, name: str, limits: Limits, folder: Path, log: StageLog) -> Iterator[Machine]:
    """A VM that boots `image`, over by the end of the block. It is not ready yet: `wait_ready`.

    Args:
        config: Settings; keys and what is known of KVM lie in the data folder.
        image: What to boot; it is never written to.
        name: The host's name, which the VM takes.
        limits: Memory, processors, disk, console.
        folder: The run's private folder; the console's log stays there as `console.log`.
        log: Where the start is told.

    Raises:
        VmTrouble: QEMU could not be started.
        ToolMissing: bubblewrap, socat or QEMU is not installed.
    """
    _room(folder)
    how = acceleration(config, image.kernel)
    keys = guest_keys(config)
    log.line(f"VM: {limits.cpus} CPUs, {limits.memory // 1024**2} MiB of memory, {how.kind} ({how.reason})")
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        shared = _shared(sockets)
        complaints = stack.enter_context(tempfile.TemporaryFile())
        console, their_console = socket.socketpair()
        monitor, their_monitor = socket.socketpair()
        stack.callback(Console.close, reader := Console(console, folder / "console.log", limits.console))
        stack.callback(monitor.close)
        with contextlib.ExitStack() as theirs:
            files = Descriptors(
                disk=_opened(theirs, image.disk), overlay=_overlay(theirs, image.disk, folder),
                kernel=_opened(theirs, image.kernel), initrd=_opened(theirs, image.initrd) if image.initrd else None,
                console=theirs.enter_context(their_console).fileno(),
                monitor=theirs.enter_context(their_monitor).fileno(),
            )  # fmt: skip
            argv = machine_argv(qemu_binary(), name, image.root, limits, how, files, shared / DOOR)
            who = unprivileged(kvm=how.kind == "kvm")
            qemu = stack.enter_context(
                process.started(
                    argv, env={"PATH": process.PATH}, output=complaints, pass_fds=files.all, cwd=Path("/"), **who
                )
            )
        ssh = Ssh(
            ALIAS, "root", keys.client, keys.known_hosts, ALIAS, control=sockets / "c", connect_timeout=60,
            proxy=f"{process.tool('socat')} - UNIX-CONNECT:{shared / DOOR}",
        )  # fmt: skip
        inner = stack.enter_context(contextlib.ExitStack())
        vm = Machine(name, qemu, Qmp(monitor), reader, ssh, limits, complaints, sockets, inner)
        vm.greet()
        yield vm


def _shared(sockets: Path) -> Path:
    """The folder in which the relay makes its socket: the user's that the sandbox runs as."""
    shared = sockets / "in"
    shared.mkdir(mode=0o700)
    sockets.chmod(0o711)  # the sandbox's user passes through; names inside are private all the same
    if user := unprivileged().get("user"):
        shutil.chown(shared, user)
    return shared


def _room(folder: Path) -> None:
    """See that there is room for what the VM will write: a full disk here would look like the host's own fault.

    Raises:
        VmTrouble: There is not.
    """
    if (free := shutil.disk_usage(folder).free) < SPARE_DISK:
        raise VmTrouble(
            f"only {free / 1e6:.0f} MB are free, and a VM may write more", where=str(folder),
            mend="make room, or run `toto gc`",
        )  # fmt: skip


def _opened(stack: contextlib.ExitStack, path: Path, flags: int = os.O_RDONLY) -> int:
    """A file's descriptor, closed with the stack.

    Raises:
        VmTrouble: It cannot be opened.
    """
    try:
        number = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise VmTrouble(f"a part of the image cannot be opened: {error.strerror}", where=str(path)) from error
    stack.callback(os.close, number)
    return number


def _overlay(stack: contextlib.ExitStack, disk: Path, folder: Path) -> int:
    """A disk that holds what this run writes over `disk`. It loses its name at once, so that it cannot outlive QEMU."""
    fresh = folder / f"overlay-{os.getpid()}.qcow2"
    try:
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(fresh), str(disk.stat().st_size)], timeout=60)
        return _opened(stack, fresh, os.O_RDWR)
    finally:
        fresh.unlink(missing_ok=True)
