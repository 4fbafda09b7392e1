"""What the two eyes of the model get of a picture: needs neither model nor device, so that a thread
can make it ahead of them."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future

from PIL import Image
from torch import Tensor

from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.pictures import ImageLike
from sa2va_cli.models.sa2va.preprocess import frame_tile, image_tiles, sam_square, tile_squares

Placed = tuple[int, "Views"]  # a frame of a video, and its number or position


class Views:
    """One picture, or one frame of a video, resized when an eye looks, or before it does."""

    def __init__(self, picture: Image.Image, config: Sa2vaConfig) -> None:
        """`picture` is RGB."""
        self.size = picture.size  # (width, height)
        self._picture: Image.Image | None = picture
        self._config = config
        # Not cached properties: until Python 3.12 those of all pictures share one lock.
        self._tiles: Tensor | None = None
        self._frame_tile: Tensor | None = None
        self._square: Tensor | None = None
        self._square_to_come: Future[Tensor] | None = None

    @property
    def tiles(self) -> Tensor:
        """(tiles, 3, side, side) uint8: the picture for InternViT."""
        if self._tiles is None:
            side, most = self._config.vision.image_size, self._config.max_tiles
            self._tiles = tile_squares(image_tiles(self._original, side, most))
        return self._tiles

    @property
    def frame_tile(self) -> Tensor:
        """(1, 3, side, side) uint8: a frame for InternViT."""
        if self._frame_tile is None:
            side = self._config.vision.image_size
            self._frame_tile = tile_squares([frame_tile(self._original, side)])
        return self._frame_tile

    @property
    def square(self) -> Tensor:
        """(1, 3, size, size) uint8: for SAM 2."""
        if self._square is None:
            coming, self._square_to_come = self._square_to_come, None
            self._square = coming.result() if coming else self._make_square()
        return self._square

    def make_square_in(self, pool: Executor) -> None:
        """Begin with it now: who wants it waits for what is left."""
        if self._square is None and self._square_to_come is None:
            self._square_to_come = pool.submit(self._make_square)

    def _make_square(self) -> Tensor:
        return sam_square(self._original, self._config.segmenter.image_size)[None]

    def of_a_picture(self) -> "Views":
        """All that is needed of a picture is made now, and the picture itself let go: at published
        sizes, tiles and square take up to 11 MB, a photo of 12 megapixels 48."""
        _, _ = self.tiles, self.square
        self._picture = None
        return self

    def of_a_frame(self) -> "Views":
        """What every frame of a video needs is made now."""
        _ = self.square
        return self

    @property
    def _original(self) -> Image.Image:
        assert self._picture is not None, "the tile of a frame, of a picture that is let go"
        return self._picture


class ViewsOfAll:
    """Those of all frames of a video, as often as the frames themselves can be iterated."""

    def __init__(self, frames: Iterable[ImageLike], views: Callable[[ImageLike], Views]) -> None:
        self._frames = frames
        self._views = views

    def __iter__(self) -> Iterator[Views]:
        return map(self._views, self._frames)
