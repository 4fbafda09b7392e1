"""A writer of H.264 whose pictures are two fields each, as camcorders record 1080i.

No encoder at hand has that mode. Every macroblock is I_PCM, which is its samples as they are
(ITU-T H.264, 7.3: syntax in tabular form).
"""

from fractions import Fraction

import av
import numpy as np

SIZE = (16, 32)  # of a frame, width and height: a macroblock for each field
DELIMITER = b"\0\0\0\1\x09\xf0"


def shade(idx, bottom):
    """The samples of a field of frame idx; none is so small that it needs an escape."""
    return 40 + idx % 150 + 30 * bottom


def write_fields(path, num_frames, together=False):
    """At 25 frames a second; a packet is one field or, `together`, two that share a time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width, stream.height = SIZE
        for idx in range(num_frames):
            fields = [DELIMITER + _PARAMETERS + _field(idx, 0), _field(idx, 1)]
            for at, data in enumerate([b"".join(fields)] if together else fields):
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 90000)
                packet.pts = packet.dts = 3600 * idx + 1800 * at
                packet.is_keyframe = at == 0
                container.mux(packet)


def _bits(value, width):
    return f"{value:0{width}b}"


def _golomb(*values):
    return "".join("0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}" for value in values)


def _unit(kind, bits, samples=b""):
    """A NAL unit, ended by a one and zeros."""
    bits += "" if samples else "1"
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big") + samples + (b"\x80" if samples else b"")
    assert b"\0\0" not in body  # it would have to be escaped
    return b"\0\0\0\1" + bytes([0x60 | kind]) + body


def _parameter_sets():
    main_profile = _bits(77, 8) + _bits(0, 8) + _bits(30, 8)
    orders = _golomb(0, 0, 0, 4, 1) + "0"  # frame_num of 4 bits, picture order of 8, one reference
    size = _golomb(SIZE[0] // 16 - 1, SIZE[1] // 32 - 1)
    fields_allowed = "0" + "0" + "1" + "00"  # frame_mbs_only_flag is the first
    sequence = _unit(7, main_profile + orders + size + fields_allowed)
    pictures = _unit(8, _golomb(0, 0) + "00" + _golomb(0, 0, 0) + "000" + _golomb(0, 0, 0) + "100")
    return sequence + pictures


_PARAMETERS = _parameter_sets()


def _field(idx, bottom):
    """The top field is an IDR picture, the bottom one an I picture of the same frame."""
    header = _golomb(0, 7, 0) + _bits(0, 4) + "1" + _bits(bottom, 1)
    header += "" if bottom else _golomb(idx % 2)  # idr_pic_id
    header += _bits(bottom, 8) + ("0" if bottom else "00") + _golomb(0, 1)
    samples = np.full(256, shade(idx, bottom), np.uint8).tobytes() + bytes([128]) * 128
    return _unit(1 if bottom else 5, header + _golomb(25), samples)
