import json

import av
import numpy as np
from PIL import Image

from sa2va_cli.demo.draw import draw_folder
from sa2va_cli.masks import decode_rle


def test_the_folder_holds_files_prompts_and_the_truth(tmp_path):
    draw_folder(tmp_path, images=2, videos=1)
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert [line["path"] for line in lines] == ["images/01.png", "images/02.png", "videos/01.mp4"]
    for line in lines:
        assert set(truth[line["path"]]) == set(line["prompts"])
    with Image.open(tmp_path / "images/01.png") as picture:
        sizes = {tuple(rle["size"]) for masks in truth["images/01.png"].values() for rle in masks}
        assert sizes == {picture.size[::-1]}


def test_the_video_plays_and_its_masks_lie_on_it(tmp_path):
    draw_folder(tmp_path, images=0, videos=1)
    with av.open(str(tmp_path / "videos/01.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    (masks,) = json.loads((tmp_path / "truth.json").read_text())["videos/01.mp4"].values()
    assert len(masks) == len(frames) >= 24
    first, last = decode_rle(masks[0]), decode_rle(masks[-1])
    assert first.shape == frames[0].shape[:2]
    inside = np.median(frames[0][first], axis=0), np.median(frames[-1][last], axis=0)
    assert np.abs(inside[0] - inside[1]).max() < 40  # the same thing, seen again
