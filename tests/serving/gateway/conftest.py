"""What the tests of the gateway share."""

import pytest

from birdwatch.testing import MemoryStreams


@pytest.fixture
def streams():
    return MemoryStreams()
