"""Stage logs."""

from __future__ import annotations

from server.core.config import Config
from server.core.log import LIMIT_REACHED, LogWriter, compress, log_path, read_log
from server.core.states import StageName

BUILD = StageName.BUILD


def writer(config: Config, limit: int = 1000) -> LogWriter:
    return LogWriter(log_path(config, "7", BUILD), limit)


def test_a_cursor_reads_on_where_it_stopped(config: Config) -> None:
    log = writer(config)
    log.write(b"one\n")
    first = read_log(config, "7", BUILD)
    assert (first.data, first.offset, first.length) == (b"one\n", 0, 4)
    log.line("two")
    second = read_log(config, "7", BUILD, first.length)
    assert second.data == b"toto: two\n"
    assert read_log(config, "7", BUILD, second.length).data == b""


def test_a_log_that_is_not_there_is_empty(config: Config) -> None:
    assert read_log(config, "7", BUILD).length == 0


def test_the_cursor_survives_compression(config: Config) -> None:
    log = writer(config)
    log.write(b"0123456789")
    log.close()
    compress(config, "7")
    assert not log_path(config, "7", BUILD).exists()
    piece = read_log(config, "7", BUILD, 4, 3)
    assert (piece.data, piece.offset, piece.length) == (b"456", 4, 10)


def test_a_flood_is_cut_in_the_middle_visibly(config: Config) -> None:
    log = writer(config, limit=1000)
    log.write(b"BEGIN")
    for number in range(100_000):
        log.write(b"%06d\n" % number)
    before = read_log(config, "7", BUILD)
    log.write(b"END\n")
    log.close()
    after = read_log(config, "7", BUILD)
    assert after.data.startswith(before.data)  # what was written never changes, so cursors hold
    assert after.data.startswith(b"BEGIN000000\n")
    assert after.data.endswith(b"099999\nEND\n")
    assert b"bytes were cut here" in after.data
    assert after.length < 1300


def test_a_log_below_its_limit_is_whole(config: Config) -> None:
    log = writer(config, limit=1000)
    log.write(b"x" * 700)
    log.write(b"y" * 250)
    log.close()
    whole = read_log(config, "7", BUILD).data
    assert whole.replace(LIMIT_REACHED, b"") == b"x" * 700 + b"y" * 250
    assert b"cut here" not in whole


def test_growth_is_told(config: Config) -> None:
    seen: list[int] = []
    log = LogWriter(log_path(config, "7", BUILD), 1000, seen.append)
    log.write(b"abc")
    log.write(b"de")
    assert seen == [3, 5]


def test_appending_goes_on_after_a_restart(config: Config) -> None:
    writer(config).write(b"one\n")
    writer(config).write(b"two\n")
    assert read_log(config, "7", BUILD).data == b"one\ntwo\n"
