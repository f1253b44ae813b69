"""The one door for child processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.core import process
from server.core.errors import CommandFailed, CommandTimeout, ToolMissing
from tests.services import wait_until


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_result_has_output_code_and_time() -> None:
    result = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10, check=False)
    assert (result.code, result.stdout, result.stderr, result.timed_out) == (3, b"out\n", b"err\n", False)
    assert result.text == "out"


def test_a_failure_can_be_pasted_and_carries_the_last_line() -> None:
    with pytest.raises(CommandFailed) as caught:
        process.run(["sh", "-c", "echo one; echo 'two words' >&2; exit 4"], timeout=10)
    assert "sh -c 'echo one; echo" in str(caught.value)
    assert "ended with 4 (two words)" in str(caught.value)
    assert caught.value.code == 4


def test_a_missing_program_has_a_sentence_of_its_own() -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        process.run(["no-such-program"], timeout=5)
    with pytest.raises(ToolMissing, match="command not found"):
        process.run(["/nowhere/program"], timeout=5)


def test_nothing_of_our_environment_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTO_SECRET", "x")
    assert b"TOTO_SECRET" not in process.run(["env"], timeout=5).stdout


def test_standard_input_is_closed_unless_given() -> None:
    assert process.run(["cat"], timeout=5).stdout == b""
    big = b"x" * 3_000_000
    assert process.run(["cat"], timeout=20, data=big).stdout == big


def test_a_command_that_reads_nothing_does_not_block() -> None:
    assert process.run(["true"], timeout=5, data=b"x" * 3_000_000).code == 0


def test_time_out_ends_the_whole_tree(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! >{tmp_path}/pid; trap '' TERM; sleep 100; sleep 100"
    began = time.monotonic()
    with pytest.raises(CommandTimeout, match="did not end within"):
        process.run(["sh", "-c", script], timeout=0.5, grace=0.3)
    assert time.monotonic() - began < 5
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not alive(child), what="the grandchild's end")


def test_stop_ends_it_as_a_time_out() -> None:
    result = process.run(["sleep", "100"], timeout=60, check=False, stop=lambda: True, grace=0.2)
    assert result.timed_out
    assert result.seconds < 5


def test_a_grandchild_that_keeps_the_pipe_open_does_not_hang_us() -> None:
    result = process.run(["sh", "-c", "setsid sleep 30 & echo done"], timeout=20, check=False)
    assert result.stdout == b"done\n"
    assert result.seconds < 15


def test_sinks_get_output_as_it_comes_and_nothing_is_kept() -> None:
    seen: list[bytes] = []
    result = process.run(["sh", "-c", "echo a; echo b"], timeout=5, on_stdout=seen.append)
    assert b"".join(seen) == b"a\nb\n"
    assert result.stdout == b""


def test_kept_output_is_bounded() -> None:
    result = process.run(["head", "-c", "1000000", "/dev/zero"], timeout=10, limit=1000)
    assert len(result.stdout) == 1000


def test_started_runs_inside_the_block_only() -> None:
    with process.started(["sleep", "100"]) as child:
        assert alive(child.pid)
    assert not alive(child.pid)


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "from server.core import process; import time, pathlib\n"
        "with process.started(['sleep', '100']) as c:\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(c.pid)); time.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), what="the child")
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child), what="the child's end")


def test_children_never_get_our_working_directory_by_accident(tmp_path: Path) -> None:
    assert process.run(["pwd"], timeout=5, cwd=tmp_path).text == str(tmp_path)
    assert process.run(["pwd"], timeout=5).text == str(Path.cwd())
