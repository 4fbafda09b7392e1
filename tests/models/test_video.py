"""Key frames anywhere, and Sa2VA-i: the golden cases, and what must hold beside them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.model_source import Loading, Sa2vaSource
from sa2va_cli.models.sa2va.steps import Steps
from sa2va_cli.models.sa2va.video import MaskStream, uniform_indices
from sa2va_cli.results import Question, VideoOptions

GOLDEN_I = Path(__file__).parents[1] / "data" / "golden" / "sa2va-i"
CASES_I = sorted(folder.name for folder in (GOLDEN_I / "cases").iterdir())
SEGMENT = Question("<image>Please segment the moving square.")


@pytest.fixture(scope="module")
def consistent_model():
    return Sa2VA.from_pretrained(str(GOLDEN_I / "checkpoint"), device="cpu")


def clip(length, seed=0):
    """A bright square that wanders over noise."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8)
    frames = []
    for index in range(length):
        frame = ground.copy()
        frame[10:26, 2 * index : 2 * index + 16] = (230, 40, 40)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("name", CASES_I)
def test_sa2va_i_equals_the_reference(name, consistent_model, monkeypatch):
    folder = GOLDEN_I / "cases" / name
    case = json.loads((folder / "case.json").read_text())
    expected = np.load(folder / "expected.npz")
    decoded, run = [], MaskStream.run

    def recording_run(self, keys):
        assert keys.indices == tuple(sorted(set(expected["sample_idx"].tolist())))
        for frame_idx, masks in run(self, keys):
            decoded.append(masks)
            yield frame_idx, masks

    monkeypatch.setattr(MaskStream, "run", recording_run)
    frames = [Image.open(folder / frame) for frame in case["frames"]]
    options = VideoOptions(key_frames=case.get("sample_num_frames", 5))
    answers = consistent_model.answer_video(frames, [Question(case["text"])], options)
    masks = list(answers)
    assert answers.answers[0].text == str(expected["prediction"])
    for index in range(len(answers.answers[0].seg_probabilities)):
        compare_object(expected, index, masks, decoded)


def compare_object(expected, index, masks, decoded):
    shape = expected[f"masks_{index}_shape"]
    wanted = np.unpackbits(expected[f"masks_{index}"])[: np.prod(shape)].reshape(shape).astype(bool)
    ours = np.stack([frame.masks[index] for frame in masks])
    assert (ours != wanted).sum() <= wanted.size / 5000
    keys = set(expected[f"cond_frames_{index}"].tolist())
    for frame_idx, frame in enumerate(decoded):
        if frame_idx not in keys:  # one flipped pixel of a given mask moves its logits by up to 1
            logits = expected[f"low_res_logits_{index}"][frame_idx]
            assert np.abs(frame.mask_logits[index].numpy() - logits).max() <= 5e-3
        pointer = expected[f"obj_ptr_{index}"].reshape(len(decoded), -1)[frame_idx]
        assert np.abs(frame.pointers[index].numpy() - pointer).max() <= 5e-3


def test_a_picture_with_a_sa2va_i_checkpoint_uses_the_modified_decoder(consistent_model):
    calls = []
    for name in ("mask_decoder", "tracking_decoder"):
        module = getattr(consistent_model.model.segmenter, name)
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    consistent_model.predict(clip(1)[0], text="<image>Please segment the red circle.")
    assert calls == ["mask_decoder"]


def test_a_sa2va_i_checkpoint_can_be_run_as_plain_sa2va(consistent_model):
    plain = VideoOptions(mode="sa2va")
    taken = consistent_model.answer_video(iter(clip(7)), [SEGMENT], plain)
    assert [frame.frame_idx for frame in taken] == list(range(7))


def test_a_plain_checkpoint_refuses_the_mode_it_has_no_decoder_for(golden_model):
    with pytest.raises(UsageError, match="one mask decoder"):
        golden_model.answer_video(clip(3), [SEGMENT], VideoOptions(mode="sa2va-i"))


def test_uniform_key_frames_spread_from_the_first_to_the_last():
    assert uniform_indices(12, 5) == [0, 2, 5, 8, 11]
    assert uniform_indices(3, 5) == [0, 1, 2]
    assert uniform_indices(1, 5) == [0]
    assert uniform_indices(0, 5) == []


def test_uniform_with_few_frames_is_the_reference(golden_model):
    """Up to five frames, every frame is a key frame either way."""
    first = list(golden_model.answer_video(clip(5), [SEGMENT]))
    uniform = VideoOptions(key_sampling="uniform")
    spread = list(golden_model.answer_video(clip(5), [SEGMENT], uniform))
    for one, other in zip(first, spread, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)


def test_uniform_key_frames_condition_frames_on_both_sides(golden_model):
    options = VideoOptions(key_frames=3, key_sampling="uniform")
    masks = list(golden_model.answer_video(clip(9), [SEGMENT], options))
    assert [frame.frame_idx for frame in masks] == list(range(9))
    alone = golden_model.answer_video(clip(9)[8:], [SEGMENT])  # sees the last frame only
    assert alone.answers[0].text == "Sure, [SEG].<|im_end|>"
    changed = clip(9)
    changed[8] = changed[8][::-1].copy()  # another last key frame changes the frames before it
    other = list(golden_model.answer_video(changed, [SEGMENT], options))
    assert not np.allclose(other[5].scores, masks[5].scores, atol=1e-6)


def test_uniform_key_frames_need_frames_that_can_be_read_twice_and_counted(golden_model):
    class Uncounted:
        def __iter__(self):
            return iter(clip(6))

    options = VideoOptions(key_sampling="uniform")
    with pytest.raises(UsageError, match="only once"):
        golden_model.answer_video(iter(clip(6)), [SEGMENT], options, num_frames=6)
    with pytest.raises(UsageError, match="how many frames"):
        golden_model.answer_video(Uncounted(), [SEGMENT], options)


def test_a_video_shorter_than_it_said_keeps_the_key_frames_it_has(golden_model):
    class Shorter:
        def __iter__(self):
            return iter(clip(6))

    options = VideoOptions(key_sampling="uniform")
    masks = golden_model.answer_video(Shorter(), [SEGMENT], options, num_frames=100)
    assert len(list(masks)) == 6


def test_the_number_of_key_frames_is_what_the_language_model_sees(golden_model, monkeypatch):
    seen = []
    see_video = Steps.see_video
    monkeypatch.setattr(
        Steps,
        "see_video",
        lambda self, pictures: (seen.append(len(pictures)), see_video(self, pictures))[1],
    )
    golden_model.answer_video(iter(clip(8)), [SEGMENT], VideoOptions(key_frames=3))
    golden_model.answer_video(
        clip(8), [SEGMENT], VideoOptions(key_frames=4, key_sampling="uniform")
    )
    assert seen == [3, 4]


@pytest.mark.parametrize("naming", ["original", "transformers"])
def test_sam2_weights_give_a_plain_checkpoint_the_second_decoder(
    naming, consistent_model, tmp_path
):
    from safetensors.torch import load_file, save_file

    from sa2va_cli.errors import CheckpointError

    sam = "grounding_encoder.sam2_model."
    weights = load_file(GOLDEN_I / "checkpoint" / "model.safetensors")
    original = {
        name.removeprefix(sam): weights.pop(name)
        for name in list(weights)
        if name.startswith(sam + "sam_mask_decoder.")
    }
    if naming == "transformers":
        decoder = consistent_model.model.segmenter.tracking_decoder.state_dict()
        original = {f"mask_decoder.{name}": weight.clone() for name, weight in decoder.items()}
    modified = sam + "sam_mask_decoder_modified."
    for name in [name for name in weights if name.startswith(modified)]:
        weights[name.replace("_modified", "")] = weights.pop(name)
    plain = shutil.copytree(GOLDEN_I / "checkpoint", tmp_path / "plain")
    (plain / "model.safetensors").unlink()
    save_file(weights, plain / "model.safetensors")
    save_file(original, tmp_path / "sam2.safetensors")

    made = Sa2VA.from_pretrained(
        str(plain), device="cpu", sam2_weights=tmp_path / "sam2.safetensors"
    )
    for one, other in zip(
        made.answer_video(clip(8), [SEGMENT]),
        consistent_model.answer_video(clip(8), [SEGMENT]),
        strict=True,
    ):
        np.testing.assert_array_equal(one.masks, other.masks)
    (tmp_path / "sam2.pt").write_bytes(b"PK")
    save_file(original | {"no_obj_embed_spatial": torch.zeros(1, 64)}, tmp_path / "sam21")
    for wrong, message in (
        (tmp_path / "nothing", "No file"),
        (tmp_path / ("n" * 300), "No file"),
        (plain / "model.safetensors", "no mask decoder"),
        (tmp_path / "sam2.pt", "pickled"),
        (tmp_path / "sam21", r"SAM 2\.1"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Sa2VA.from_pretrained(str(plain), device="cpu", sam2_weights=wrong)
    marks = {}
    for name in ("sam2", "copy", "other"):
        path = tmp_path / name / "sam2.safetensors"
        path.parent.mkdir(exist_ok=True)
        first = next(iter(original))
        changed = {first: original[first] + 1} if name == "other" else {}
        save_file(original | changed, path)
        source = Sa2vaSource(str(plain), how=Loading(sam2_weights=path))
        marks[name] = source.prepare()[0]
    assert marks["sam2"] == marks["copy"] != marks["other"]
    assert Sa2vaSource(str(plain)).prepare()[0] not in marks.values()


def test_objects_tracked_at_once_are_as_if_tracked_alone(golden_model):
    texts = ("the moving square", "the red circle", "every person")
    questions = [Question(f"<image>Please segment {text}.") for text in texts]
    together = list(golden_model.answer_video(clip(9), questions))
    for number, question in enumerate(questions):
        alone = golden_model.answer_video(clip(9), [question])
        for frame, own in zip(together, alone, strict=True):
            ours, theirs = frame.masks[number], own.masks[0]
            assert (ours & theirs).sum() >= 0.999 * (ours | theirs).sum()
