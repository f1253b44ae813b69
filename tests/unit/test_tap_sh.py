"""The authors' library, under the shells it has to live with; what it prints is judged by the judge."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import host_tests
from host_tests.judge import Verdict, judge
from server.core import process

LIBRARY = Path(host_tests.__file__).parent / "lib"
WANTED = (("dash",), ("bash", "--posix"), ("busybox", "sh"))
SHELLS = [shell for shell in WANTED if shutil.which(shell[0], path=process.PATH)]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param  # type: ignore[no-any-return]


def run(shell: tuple[str, ...], script: str) -> process.Result:
    env = process.environment({"TOTO_LIB": str(LIBRARY)})
    return process.run([*shell, "-c", f'. "$TOTO_LIB/tap.sh"\n{script}'], timeout=30, env=env, check=False)


def verdict(shell: tuple[str, ...], script: str) -> Verdict:
    result = run(shell, script)
    return judge(result.stdout, result.code)


def failed(verdict: Verdict) -> list[str]:
    return [check.description for check in verdict.checks if not check.good]


def test_all_that_holds_is_green_and_the_plan_comes_by_itself(shell: tuple[str, ...]) -> None:
    said = verdict(
        shell,
        """
        ok one; is a a two; isnt a b three; like abc 'b+' four; cmd_ok five true; skip six 'no # net'
        todo later; not_ok seven; ok 'an issue #42 # TODO not one'
    """,
    )
    assert said.ok, said
    assert (said.planned, said.passed, said.skipped, said.todo) == (8, 6, 1, 1)
    assert said.checks[7].description == "an issue #42 # TODO not one"
    assert said.checks[6].reason == "later"


@pytest.mark.parametrize(
    ("check", "diagnostics"),
    [
        ("not_ok x", None),
        ("is got wanted x", "     got: got\nexpected: wanted"),
        ("isnt a a x", "got what it must not be: a"),
        ("like abc '^b' x", "          got: abc\ndoes not hold: ^b"),
        ("cmd_ok x sh -c 'echo why; exit 3'", "exit code 3 of: sh -c echo why; exit 3\nwhy"),
        ("is 'a\nb' c x", "     got: a\nb\nexpected: c"),
    ],
)
def test_what_does_not_hold_fails_and_says_why(shell: tuple[str, ...], check: str, diagnostics: str | None) -> None:
    result = run(shell, f"set -e\nok before\n{check}\nok after")
    said = judge(result.stdout, result.code)
    assert result.code == 1
    assert failed(said) == ["x"]
    assert said.passed == 2, "a failed check does not end a test, not even under set -e"
    assert said.problems == ()
    assert said.checks[1].diagnostics == diagnostics


@pytest.mark.parametrize(
    "script",
    [
        "set -e; ok a; false; ok b",
        "ok a; exit 3",
        "ok a; kill -9 $$",
        "ok a; kill -15 $$",
        "ok a; . /nonexistent; ok b",
        "set -u; ok a; echo $nothing_set; ok b",
        "plan 3; ok a; exit 0",
        "plan 1; ok a; ok b",
        "plan 2; ok a",
        "exit 0",
        ":",
        "done_testing",
        "ok a; bail_out 'the disk is gone'; ok b",
        "set -e; subtest s bad; ok b; bad() { :; }",
        "bad() { set -e; ok x; false; ok y; }; subtest s bad",
        "bad() { ok x; exit 4; }; subtest s bad",
        "bad() { ok x; kill -9 $(sh -c 'echo $PPID'); sleep 1; }; subtest s bad",
        "bad() { :; }; subtest s bad",
        "bad() { plan 2; ok x; }; subtest s bad",
        "bad() { ok x; bail_out 'gone'; }; subtest s bad",
    ],
)
def test_a_test_that_dies_or_lies_is_never_green(shell: tuple[str, ...], script: str) -> None:
    assert not verdict(shell, script).ok


def test_plan_skip_all_and_done_testing(shell: tuple[str, ...]) -> None:
    assert verdict(shell, "plan 2; ok a; ok b").ok
    assert verdict(shell, "skip_all 'no net'; not_ok a").skip_all == "no net"
    assert verdict(shell, "ok a; done_testing; not_ok b").ok


def test_subtests_nest_and_keep_their_counts(shell: tuple[str, ...]) -> None:
    said = verdict(
        shell,
        """
        inner() { ok x; is "$1" arg y; }
        outer() { ok first; subtest 'in # side' inner arg; }
        ok a; subtest outside outer; ok c
    """,
    )
    assert said.ok, said
    assert [check.number for check in said.checks] == [1, 2, 3]
    assert [check.description for check in said.checks[1].subtests] == ["first", "in # side"]
    assert [check.description for check in said.checks[1].subtests[1].subtests] == ["x", "y"]


def test_a_failing_subtest_fails(shell: tuple[str, ...]) -> None:
    said = verdict(shell, "bad() { ok x; not_ok y; }; subtest s bad; ok b")
    assert failed(said) == ["s"]
    assert said.problems == ()


def test_wait_for(shell: tuple[str, ...], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    came = f"(sleep 1; : >{flag}) & wait_for 20 test -e {flag} && ok came"
    said = run(shell, f"{came}; wait_for 1 false || ok 'never came'")
    assert judge(said.stdout, said.code).passed == 2


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 404 if self.path == "/none" else 200)
        self.send_header("Location", "/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("tools", [("curl",), ("python3",), ("bash", "timeout")])
def test_http_status_with_what_a_machine_has(tools: tuple[str, ...], site: str, tmp_path: Path) -> None:
    for name in (*tools, "sh", "sed", "tail", "tr"):
        found = shutil.which(name, path=process.PATH)
        if found is None:
            pytest.skip(f"no {name} here")
        (tmp_path / name).symlink_to(found)
    addresses = (site, f"{site}/none", f"{site}/moved/", f"{site}/moved", "http://127.0.0.1:1/")
    asked = "; ".join(f"http_status {address}" for address in addresses)
    script = f'. "$TOTO_LIB/tap.sh"; {asked}; skip_all done'
    env = {"PATH": str(tmp_path), "TOTO_LIB": str(LIBRARY)}
    result = process.run(["/bin/sh", "-c", script], timeout=60, env=env, check=False)
    assert result.text.splitlines()[:5] == ["200", "404", "200", "302", "000"], result.stderr
