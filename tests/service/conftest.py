"""A service for the tests of a file that need none of their own."""

from collections.abc import Iterator

import pytest
from serving import service


@pytest.fixture(scope="module")  # its threads are gone when other tests count theirs
def url(tiny) -> Iterator[str]:
    """Its address."""
    with service(tiny, sessions=8) as url:
        yield url
