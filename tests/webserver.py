"""The web served for a test: the real application in a thread of this process, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from server.core.config import Config
from server.core.people import set_password
from server.web.app import create_app
from server.web.services import KEY
from tests.webdata import Fleet, fill

PERSON, PASSWORD = "ada", "correct horse battery"


class Quiet(WSGIRequestHandler):
    """Keeps the requests out of the tests' output."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def served(config: Config) -> Iterator[str]:
    """The address of the application while the block runs."""
    app = create_app(config)
    server = make_server(config.listen, config.port, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True  # a live view that is open must not keep the test from ending
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{config.listen}:{server.server_port}"
    finally:
        app.extensions[KEY].close()
        server.shutdown()
        thread.join(5)
        server.server_close()


@contextlib.contextmanager
def filled_web(folder: Path, redis: str = "") -> Iterator[tuple[str, Fleet]]:
    """A busy fleet and the address of its pages; `PERSON` can log in."""
    config = Config(data=folder, port=0, redis=redis)
    fleet = fill(config)
    set_password(fleet.store, PERSON, PASSWORD)
    with served(replace(config, port=0)) as address:
        yield address, fleet
    fleet.store.close()
