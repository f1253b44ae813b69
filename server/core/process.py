"""The one door for child processes.

Argument lists only, never a shell; an explicit environment; stdin closed unless given; each child leads its own session
(so a whole tree can be ended); ended gently, then killed, and always waited for. The kernel ends a child whose toto
process dies (PR_SET_PDEATHSIG; it follows the thread that started it), so a killed worker leaves nothing behind. A
failure carries the command as text that can be pasted and run again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from server.core.errors import CommandFailed, CommandTimeout, ToolMissing

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_OUTPUT = 64 * 1024
"""Bytes of a child's output that an error carries, from its end."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class Result:
    """How a child process ended.

    Attributes:
        argv: The command.
        code: Exit code; negative for a signal.
        stdout: What it printed; empty where a sink took it.
        stderr: What it complained; empty where a sink took it.
        seconds: Wall time.
        timed_out: Whether it was killed for taking too long.
    """

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Its standard output as text, without the final newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment for children: PATH, HOME, C locale, and `extra`; nothing of toto's own settings leaks."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR") if name in os.environ}
    return {"PATH": PATH, "LC_ALL": "C.UTF-8", **kept, **(extra or {})}


def pasteable(argv: Sequence[str]) -> str:
    """The command as one line for a shell."""
    return shlex.join(argv)


def tool(name: str) -> str:
    """Absolute path of a program of the system.

    Raises:
        ToolMissing: It is not installed.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise ToolMissing(f"the program {name} is not installed", mend="run `toto doctor`: it names the package")
    return found


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end(child: subprocess.Popen[bytes], *, grace: float = 5.0) -> int:
    """End a child and its whole session: SIGTERM, `grace` seconds, SIGKILL; returns its exit code."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, sign)
        if child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace)
    return child.wait()


def _open(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    user: str | None,
    group: str | None,
    groups: Sequence[str] | None,
    umask: int,
    pass_fds: Sequence[int],
    with_parent: bool,
) -> subprocess.Popen[bytes]:
    executable = argv[0] if "/" in argv[0] else tool(argv[0])
    try:
        return subprocess.Popen(
            [executable, *argv[1:]],
            env=dict(env) if env is not None else environment(),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=groups,
            umask=umask,
            pass_fds=pass_fds,
            preexec_fn=_die_with_parent if with_parent else None,
        )
    except FileNotFoundError as error:
        raise ToolMissing(f"command not found: {argv[0]}", mend="run `toto doctor`: it names the package") from error


class _Kept:
    """Keeps the end of a stream, or hands it on."""

    def __init__(self, sink: Sink | None, limit: int) -> None:
        self.sink = sink
        self.limit = limit
        self.data = bytearray()
        self.tail = bytearray()

    def take(self, chunk: bytes) -> None:
        if self.sink is not None:
            self.sink(chunk)
        elif len(self.data) < self.limit:
            self.data += chunk[: self.limit - len(self.data)]
        self.tail += chunk
        if len(self.tail) > 2 * KEPT_OUTPUT:
            del self.tail[:-KEPT_OUTPUT]


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    data: bytes | IO[bytes] | None = None,
    on_stdout: Sink | None = None,
    on_stderr: Sink | None = None,
    check: bool = True,
    limit: int = 64 * 1024 * 1024,
    grace: float = 5.0,
    user: str | None = None,
    group: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """Run a command to its end.

    Args:
        argv: The command; a bare name is looked for in the system's folders only.
        timeout: Seconds after which it is ended.
        env: Its whole environment; `environment()` where none is given.
        cwd: Its working directory.
        data: Its standard input: bytes, or an open file; closed where None.
        on_stdout: Called with each piece of its output as it comes, instead of keeping it.
        on_stderr: The same for stderr.
        check: Raise where it does not end with 0.
        limit: Bytes of each stream that are kept at the most.
        grace: Seconds between the gentle and the hard end.
        user: System user to run as (needs root).
        group: System group to run as (needs root).
        stop: Asked a few times a second; True ends the command as a time-out does.

    Raises:
        ToolMissing: The program is not installed.
        CommandFailed: It ended with another code than 0, and `check` was set.
        CommandTimeout: It did not end in time, and `check` was set.
    """
    began = time.monotonic()
    out, err = _Kept(on_stdout, limit), _Kept(on_stderr, limit)
    given = subprocess.PIPE if isinstance(data, bytes) else (data if data is not None else subprocess.DEVNULL)
    child = _open(
        argv,
        env=env,
        cwd=cwd,
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        user=user,
        group=group,
        groups=None,
        umask=-1,
        pass_fds=(),
        with_parent=True,
    )
    timed_out = False
    try:
        timed_out = not _pump(child, data if isinstance(data, bytes) else b"", out, err, began + timeout, stop)
    finally:
        code = end(child, grace=grace) if child.poll() is None or timed_out else child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
    result = Result(tuple(argv), code, bytes(out.data), bytes(err.data), time.monotonic() - began, timed_out)
    if check and (timed_out or code != 0):
        raise failure(result, bytes(out.tail[-KEPT_OUTPUT:]) + bytes(err.tail[-KEPT_OUTPUT:]), timeout)
    return result


def failure(result: Result, output: bytes, timeout: float) -> CommandFailed:
    """The error for a command that ended badly; its text can be pasted into a shell."""
    text = output.decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else "no output"
    command = pasteable(result.argv)
    if result.timed_out:
        what = f"`{command}` did not end within {timeout:g} s ({last})"
        return CommandTimeout(what, code=result.code, output=text)
    return CommandFailed(f"`{command}` ended with {result.code} ({last})", code=result.code, output=text)


def _pump(
    child: subprocess.Popen[bytes],
    data: bytes,
    out: _Kept,
    err: _Kept,
    deadline: float,
    stop: Callable[[], bool] | None,
) -> bool:
    """Move bytes until both streams are closed and the child has ended; False where the deadline came first."""
    left = memoryview(data)
    with selectors.DefaultSelector() as selector:
        assert child.stdout is not None and child.stderr is not None  # noqa: S101 - both are pipes here
        selector.register(child.stdout, selectors.EVENT_READ, out)
        selector.register(child.stderr, selectors.EVENT_READ, err)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            if time.monotonic() > deadline or (stop is not None and stop()):
                return False
            events = selector.select(0.25)
            # The child is gone and a grandchild holds its pipes open: nothing more is owed to us.
            if not events and child.poll() is not None and child.stdin is None and not selector.select(1.0):
                return True
            for key, _ in events:
                if key.fileobj is child.stdin:
                    left = _feed(child, selector, left)
                    continue
                chunk = os.read(key.fd, 65536)
                if chunk:
                    key.data.take(chunk)
                else:
                    selector.unregister(key.fileobj)
    while child.poll() is None:
        if time.monotonic() > deadline or (stop is not None and stop()):
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.25)
    return True


def _feed(child: subprocess.Popen[bytes], selector: selectors.BaseSelector, left: memoryview[int]) -> memoryview[int]:
    assert child.stdin is not None  # noqa: S101 - registered only where it is a pipe
    try:
        left = left[os.write(child.stdin.fileno(), left[:65536]) :] if left else left
    except BrokenPipeError:
        left = memoryview(b"")
    if not left:
        selector.unregister(child.stdin)
        with contextlib.suppress(OSError):
            child.stdin.close()
        child.stdin = None
    return left


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | None = None,
    stdin: IO[bytes] | None = None,
    user: str | None = None,
    group: str | None = None,
    groups: Sequence[str] | None = None,
    umask: int = -1,
    pass_fds: Sequence[int] = (),
    grace: float = 5.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A long-lived child (QEMU, passt, Redis, a worker): running inside the block, ended with its session after it.

    Its output goes to `output`, or nowhere.

    Raises:
        ToolMissing: The program is not installed.
    """
    child = _open(
        argv,
        env=env,
        cwd=cwd,
        stdin=stdin or subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.STDOUT if output else subprocess.DEVNULL,
        user=user,
        group=group,
        groups=groups,
        umask=umask,
        pass_fds=pass_fds,
        with_parent=True,
    )
    try:
        yield child
    finally:
        end(child, grace=grace)


def replace(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Become another program (exec): never returns."""
    os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - the one door
