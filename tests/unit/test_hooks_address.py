"""The address that hooks print."""

from __future__ import annotations

import dataclasses

from hooks.install import address
from server.core.config import Config


def test_hooks_print_where_the_pages_are_served(config: Config) -> None:
    assert address(config) == "http://127.0.0.1:8686"
    (config.data / "address").write_text("http://127.0.0.1:8791\n")
    assert address(config) == "http://127.0.0.1:8791"
    assert address(dataclasses.replace(config, url="https://toto.example/")) == "https://toto.example"
