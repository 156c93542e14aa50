import pytest

from palate.core.errors import InputError
from palate.models.families import sizes_of
from palate.models.load import resolve


def test_a_picture_with_more_tokens_than_positions_is_refused(twins):
    sizes = sizes_of(resolve(twins["z-image"]))  # 32 positions a side, of 2 cells of 2 pixels
    sizes.require(128, 128)
    with pytest.raises(InputError, match="multiples of 8 of at most 128; give 128"):
        sizes.require(128, 136)
