"""run-tests for real, with tests that misbehave, under dash and under busybox; through the runner to the verdict."""

from __future__ import annotations

import io
import shutil
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from host_tests.bundle import bundle
from host_tests.runner import StageVerdict, run_stage
from host_tests.stock_checks import stock_labels
from host_tests.suite_values import Suite, TestFile
from server.core import process
from server.core.model import CheckRow
from server.core.states import StageName

SMOKE = StageName.SMOKE
NONCE = "0123456789abcdef"
APPLETS = (
    *("awk", "basename", "cat", "chmod", "cut", "date", "dd", "df", "dirname", "env", "false", "grep", "head", "id"),
    *("kill", "ls", "mkdir", "mkfifo", "mktemp", "mv", "ps", "readlink", "rm", "rmdir", "sed", "setsid", "sh", "sleep"),
    *("sort", "tail", "tee", "timeout", "touch", "tr", "true", "uname", "wc", "yes"),
)


class Log:
    stage = SMOKE

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.size = 0
        self.text = b""
        self.rows: list[tuple[float, CheckRow]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.text += data[: max(0, 1_000_000 - len(self.text))]

    def check(self, row: CheckRow) -> None:
        self.rows.append((time.monotonic(), row))

    def note(self, reason: str) -> None:
        pass

    def stopped(self) -> bool:
        return False


class Machine:
    """A folder that plays the machine: a bundle unpacked in it, and the shell and tools it has."""

    def __init__(self, folder: Path, busybox: bool) -> None:
        self.folder = folder
        self.shell = "busybox sh" if busybox else "dash"
        self.path = process.PATH
        if busybox:
            (folder / "bin").mkdir()
            for name in APPLETS:
                (folder / "bin" / name).symlink_to("/bin/busybox")
            self.path = f"{folder / 'bin'}:{process.PATH}"

    def run(self, tests: dict[str, str], *, seconds: int = 20, limit: int = 1_000_000, options: str = "--no-stock",
            expected: Sequence[str] | None = None) -> tuple[StageVerdict, Log]:  # fmt: skip
        """Run tests given as label: script."""
        files = tuple(
            TestFile(SMOKE, group, name, label, script.encode(), executable=not label.endswith(".bats"))
            for label, script in tests.items()
            for group, name in [("all", label[4:]) if label.startswith("all/") else ("host", label)]
        )
        suite = Suite("web", files)
        place = self.folder / "bundle"
        with tarfile.open(fileobj=io.BytesIO(bundle(suite))) as tar:
            tar.extractall(place)
        command = (
            f"exec {self.shell} {place}/run-tests --stage smoke --host web --nonce {NONCE} --test-timeout {seconds} "
            f"--output-limit {limit} --now {int(time.time())} {options}"
        )
        log = Log()
        names = suite.expected(SMOKE, stock="--no-stock" not in options) if expected is None else expected
        verdict = run_stage(self._start, command, SMOKE, names, log, nonce=NONCE, timeout=120, host="web")
        return verdict, log

    def _start(self, command: str, **options: Any) -> process.Result:
        env = {"PATH": self.path, "TMPDIR": str(self.folder)}
        return process.run(["/bin/sh", "-c", command], check=False, env=env, **options)


@pytest.fixture(params=["dash", "busybox"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if shutil.which(request.param, path=process.PATH) is None:
        pytest.skip(f"{request.param} is not installed")
    return Machine(tmp_path, request.param == "busybox")


def alive(mark: str) -> list[str]:
    """Processes whose command line holds a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in text and "pytest" not in text:
                found.append(text)
    return found


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 5
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(mark)


GOOD = "#!/bin/sh\necho 1..1\necho ok 1 - fine\n"


def test_order_environment_and_working_folder(machine: Machine) -> None:
    probe = """#!/bin/sh
. "$TOTO_LIB/tap.sh"
is "$(ls -A)" '' 'the working folder is empty'
is "$TOTO_HOST/$TOTO_STAGE" web/smoke 'host and stage are told'
is "$(cat)" '' 'stdin is closed'
is "${TOTO_NOW-}${SSH_CONNECTION-}" '' 'nothing else leaks'
: >left-behind
"""
    tests = {"20-b": probe, "10-a": probe, "all/99-z": probe, "data.txt/x": "no test"}
    verdict, log = machine.run(tests)
    assert verdict.ok, verdict.problems
    assert verdict.passed == 12
    assert [line for line in log.lines if line.startswith("---")] == ["--- all/99-z", "--- 10-a", "--- 20-b"]
    assert not [path for path in machine.folder.iterdir() if path.name.startswith("toto-tests")]


def test_misbehaving_tests_fail_each_with_its_reason_and_the_rest_goes_on(machine: Machine) -> None:
    tests = {
        "10-hangs": "#!/bin/sh\necho ok 1\nsleep 4321\n",
        "11-hangs-and-ignores": "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 4321; done\n",
        "20-nothing": "#!/bin/sh\nexit 0\n",
        "21-binary": "#!/bin/sh\nhead -c 200000 /dev/urandom\n",
        "22-no-plan": "#!/bin/sh\necho ok 1\n",
        "23-closes-stdout": "#!/bin/sh\necho 1..2\necho ok 1\nexec >&-\nexit 0\n",
        "24-exit": "#!/bin/sh\necho 1..1\necho ok 1\nexit 7\n",
        "25-no-interpreter": "#!/nonexistent/python\n",
        "26-killed": "#!/bin/sh\necho 1..1\necho ok 1\nkill -9 $$\n",
        "30-fine": GOOD,
    }
    verdict, _ = machine.run(tests, seconds=2)
    assert not verdict.ok
    said = {file.name: (file.verdict.ok, " / ".join(file.verdict.problems)) for file in verdict.files}
    assert [name for name, (ok, _) in said.items() if ok] == ["30-fine"]
    assert "did not end in time" in said["10-hangs"][1]
    assert "did not end in time" in said["11-hangs-and-ignores"][1]
    assert "neither a plan nor a check" in said["20-nothing"][1]
    assert "a plan is missing" in said["22-no-plan"][1]
    assert "2 checks planned, 1 ran" in said["23-closes-stdout"][1]
    assert "exit code 7" in said["24-exit"][1]
    assert "exit code 127" in said["25-no-interpreter"][1]
    assert "SIGKILL" in said["26-killed"][1]
    assert gone("sleep 4321")


@pytest.mark.parametrize("where", ["", " >&2", " | tee /dev/stderr"])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_flood_is_cut_quickly(machine: Machine, where: str, stubborn: bool) -> None:
    loop = "while :; do echo 'flood flood flood flood'; done" if stubborn else "yes 'flood flood'"
    trap = "trap '' PIPE TERM\n" if stubborn else ""
    began = time.monotonic()
    script = f"#!/bin/sh\necho 1..1\necho ok 1\n{trap}{loop}{where}\n"
    verdict, log = machine.run({"10-flood": script, "20-fine": GOOD}, seconds=60)
    assert time.monotonic() - began < 30
    flood, fine = verdict.files
    assert not flood.verdict.ok
    assert "printed more than it may" in flood.verdict.problems[0]
    assert fine.verdict.ok
    assert log.size < 2_500_000
    assert gone("flood flood")


def test_a_hundred_megabytes_within_the_limit_are_judged(machine: Machine) -> None:
    script = "#!/bin/sh\necho 1..1\nyes 'a line of noise' | head -c 100000000\necho\necho ok 1\n"
    verdict, log = machine.run({"10-loud": script}, limit=200_000_000, seconds=110)
    assert verdict.ok, verdict.problems
    assert log.size > 100_000_000


def test_nothing_that_a_test_started_stays(machine: Machine) -> None:
    script = """#!/bin/sh
echo 1..1
echo ok 1
sleep 5431 &
(trap '' TERM HUP; sleep 5432) &
setsid sleep 5433 &
setsid sh -c 'exec >/dev/null 2>&1; sleep 5434 & exit' &
exit 0
"""
    began = time.monotonic()
    verdict, _ = machine.run({"10-stays": script, "20-fine": GOOD})
    assert verdict.ok, verdict.problems
    assert time.monotonic() - began < 15
    for number in (5431, 5432, 5433, 5434):
        assert gone(f"sleep {number}")


def test_ending_run_tests_ends_the_test(machine: Machine, tmp_path: Path) -> None:
    """The connection drops: sshd hangs up, and the test must not go on alone."""
    machine.run({"10-fine": GOOD})
    (tmp_path / "bundle/tests/smoke/host/10-fine").write_text("#!/bin/sh\necho 1..1\nsleep 6543\n")
    command = f"exec {machine.shell} {tmp_path}/bundle/run-tests --stage smoke --host web --nonce N --test-timeout 60"
    command += " --output-limit 1000 --now 1 --no-stock"
    result = process.run(
        ["/bin/sh", "-c", command], timeout=60, env={"PATH": machine.path, "TMPDIR": str(tmp_path)}, check=False,
        stop=lambda: bool(alive("sleep 6543")),
    )  # fmt: skip
    assert result.timed_out
    assert gone("sleep 6543")
    assert not list(tmp_path.glob("toto-tests.*"))


def test_checks_arrive_while_the_test_runs(machine: Machine) -> None:
    script = "#!/bin/sh\necho 1..2\necho ok 1 - early\nsleep 2\necho ok 2 - late\n"
    _, log = machine.run({"10-slow": script})
    (early, _), (late, _) = log.rows
    assert late - early > 1


def test_bats_runs_as_it_is(machine: Machine) -> None:
    if shutil.which("bats", path=process.PATH) is None or machine.shell != "dash":
        pytest.skip("bats wants bash and its own tools")
    script = '@test "holds # 1" { true; }\n@test "does not" { echo why; false; }\n@test "later" { skip "no net"; }\n'
    verdict, log = machine.run({"10-x.bats": script})
    assert (verdict.passed, verdict.failed, verdict.skipped) == (1, 1, 1)
    assert log.rows[1][1].diagnostics is not None
    assert "why" in log.rows[1][1].diagnostics


def test_bats_missing_is_a_clear_no(machine: Machine, tmp_path: Path) -> None:
    if machine.shell != "dash":
        pytest.skip("the same for both")
    tools = tmp_path / "few"
    tools.mkdir()
    for name in ("sh", "dash", "dirname", "mktemp", "mkdir", "rm", "cat", "grep", "sed", "rmdir", "head", "wc"):
        (tools / name).symlink_to(shutil.which(name, path=process.PATH) or "/nonexistent")
    machine.run({"10-x.bats": '@test "x" { true; }\n'})
    script = tmp_path / "bundle/run-tests"
    lines = [line for line in script.read_text().splitlines() if not line.startswith("PATH=")]
    script.write_text("\n".join(lines) + "\n")
    machine.path = str(tools)
    command = f"exec dash {script} --stage smoke --host web --nonce {NONCE} --test-timeout 9 --output-limit 9"
    command += " --no-stock"
    verdict = run_stage(machine._start, command, SMOKE, ["10-x.bats"], Log(), nonce=NONCE, timeout=60, host="web")
    assert not verdict.ok
    assert "bats is not installed on web" in verdict.files[0].verdict.problems[0]


def test_stock_checks_print_sound_tap_here(machine: Machine) -> None:
    """Whether this machine has sshd and systemd or not: each check says yes, no or skip, and none breaks."""
    verdict, _ = machine.run({"10-fine": GOOD}, options="--stock-only", expected=stock_labels())
    assert len(verdict.files) == 5
    for file in verdict.files:
        assert file.verdict.planned is not None, file
        assert file.verdict.problems == (), file
    assert verdict.files[0].verdict.ok


def test_the_clock_check_says_no(machine: Machine) -> None:
    machine.run({"10-fine": GOOD})
    env = {"PATH": machine.path, "TOTO_LIB": f"{machine.folder}/bundle/lib"}
    check = f"{machine.folder}/bundle/stock/clock"
    assert process.run([check], timeout=9, env={**env, "TOTO_NOW": str(int(time.time()) - 100)}, check=False).code == 0
    result = process.run([check], timeout=9, env={**env, "TOTO_NOW": str(int(time.time()) - 500)}, check=False)
    assert result.code == 1
    assert b"not ok 1 - the clock is within 120 s" in result.stdout


def test_wrong_use_is_told(machine: Machine) -> None:
    machine.run({"10-fine": GOOD})
    result = machine._start(f"{machine.shell} {machine.folder}/bundle/run-tests --stage smoke --bogus", timeout=9)
    assert result.code == 2
    assert b"unknown option --bogus" in result.stderr
