import numpy as np
import pytest
from PIL import Image

from sa2va_cli.models.sa2va.preprocess import image_tiles, resize, tile_grid


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((260, 340), (3, 4)),  # a shape counts, not a size
        ((640, 480), (4, 3)),
        ((448, 448), (1, 1)),
        ((633, 633), (1, 1)),  # 400,689 pixels: a square stays one tile
        ((634, 634), (2, 2)),  # 401,956 pixels: more than half of 2x2
        ((951, 951), (3, 3)),
        ((5000, 100), (12, 1)),
        ((100, 5000), (1, 12)),
    ],
)
def test_the_grid_follows_the_shape_of_the_picture(size, grid):
    assert tile_grid(*size, tile=448, max_tiles=12) == grid


def test_tiles_run_row_by_row_and_end_with_the_thumbnail():
    picture = Image.new("RGB", (400, 300))
    for index, box in enumerate([(0, 0), (200, 0), (0, 150), (200, 150)]):
        picture.paste((index * 60, 0, 0), (*box, box[0] + 200, box[1] + 150))
    tiles = image_tiles(picture, tile=28, max_tiles=12)
    assert len(tiles) == 13 and {tile.size for tile in tiles} == {(28, 28)}
    assert np.asarray(tiles[0]).max() == 0  # top left
    assert np.asarray(tiles[11])[-1, -1, 0] == 180  # bottom right, then the thumbnail
    assert np.asarray(tiles[12])[-1, -1, 0] == 180 and np.asarray(tiles[12])[0, 0, 0] == 0


def test_one_tile_has_no_thumbnail():
    assert len(image_tiles(Image.new("RGB", (300, 300)), tile=448, max_tiles=12)) == 1
    assert len(image_tiles(Image.new("RGB", (400, 300)), tile=448, max_tiles=1)) == 1


def test_a_tall_picture_is_resized_down_before_across():
    """The rounding between the passes tells their order."""
    pixels = np.random.default_rng(0).integers(0, 255, (320, 240, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    down_first = picture.resize((240, 256)).resize((256, 256))
    across_first = picture.resize((256, 320)).resize((256, 256))
    assert (np.asarray(down_first) != np.asarray(across_first)).any()
    np.testing.assert_array_equal(np.asarray(resize(picture, 256, 256)), np.asarray(down_first))
    wide = Image.fromarray(pixels.transpose(1, 0, 2).copy())
    expected = wide.resize((256, 240)).resize((256, 256))
    np.testing.assert_array_equal(np.asarray(resize(wide, 256, 256)), np.asarray(expected))
