"""What several journeys start from."""

import pytest

from tests.small_package import Packed, packing


@pytest.fixture(scope="session")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A packed project whose champion is the boosted candidate; not to be changed."""
    with packing(tmp_path_factory.mktemp("boosted"), "boosted") as packed:
        return packed
