"""What several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.core.config import Config
from tests import images


@pytest.fixture(scope="session")
def image_config() -> Iterator[Config]:
    """Settings whose data folder the builder can write; its caches (packages, base, kernel) serve the whole session."""
    with images.data_folder() as made:
        yield made
