"""SAM 2's view of several pictures, each of which it sees once."""

from collections.abc import Iterator, Sequence

from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.steps import FRAME_BATCH, Steps
from sa2va_cli.models.sa2va.views import Views

MOST = 2 * FRAME_BATCH  # pictures made ahead: 44 MB each at the published sizes


class Sight:
    """Features of pictures: made when they are wanted, or, for a GPU, when they will be."""

    def __init__(self, steps: Steps, pictures: Sequence[Views]) -> None:
        self._steps = steps
        self._pictures = pictures
        self._made: dict[int, FrameFeatures] = {}

    def expect(self, wanted: Sequence[bool]) -> None:
        """Which pictures will be looked at, if answers are what they usually are.

        A GPU gets it to do now: meanwhile it is told to read the questions, 36 layers and 8
        pictures by name, which takes as long.
        """
        if self._steps.device.type == "cuda":
            places = [place for place, is_wanted in enumerate(wanted) if is_wanted][:MOST]
            self._made = dict(zip(places, self._encode(places), strict=True))

    def of_each(self, places: Sequence[int]) -> Iterator[FrameFeatures]:
        """Of some pictures, in this order."""
        fresh = self._encode([place for place in places if place not in self._made])
        for place in places:
            known = self._made.pop(place, None)
            yield next(fresh) if known is None else known

    def _encode(self, places: Sequence[int]) -> Iterator[FrameFeatures]:
        return self._steps.features_of_each([self._pictures[place] for place in places])
