"""A service for all tests that need none of their own."""

from collections.abc import Iterator

import pytest
from serving import service


@pytest.fixture(scope="session")
def url(tiny) -> Iterator[str]:
    """Its address."""
    with service(tiny, sessions=8) as url:
        yield url
