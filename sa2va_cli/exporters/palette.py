"""One colour for each object: always the same, bright, and far from its neighbours."""

import colorsys

# Neighbours in this list differ in hue and in lightness; all are bright enough for dark pictures.
COLOURS = (
    (255, 82, 82),  # red
    (64, 156, 255),  # blue
    (255, 214, 10),  # yellow
    (50, 215, 100),  # green
    (255, 105, 235),  # pink
    (255, 149, 0),  # orange
    (100, 230, 255),  # cyan
    (175, 110, 255),  # violet
    (190, 235, 60),  # lime
    (255, 170, 165),  # salmon
    (0, 175, 165),  # teal
    (205, 145, 85),  # sand
)
GOLDEN_RATIO = 0.618033988749895  # steps round the hue circle that never meet

Colour = tuple[int, int, int]  # RGB


def object_colour(obj_id: int) -> Colour:
    """The colour of the object with this number, in every picture, video and page."""
    index = obj_id - 1
    if index < len(COLOURS):
        return COLOURS[index]
    value = 1.0 if index % 2 else 0.85
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1.0, 0.62, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is easier to read on the background."""
    red, green, blue = background
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return (16, 16, 16) if luminance > 125 else (255, 255, 255)


def davis_palette() -> list[int]:
    """The 256 colours of DAVIS and PASCAL VOC, flat: bits of the index spread over R, G, B."""
    palette = []
    for index in range(256):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        palette += channels
    return palette
