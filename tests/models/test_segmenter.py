import numpy as np
import pytest
import torch

from sa2va_cli.models.sa2va import averaging, segmenter
from sa2va_cli.models.sa2va.arriving import Arrival, SentMasks, pack
from sa2va_cli.models.sa2va.segmenter import full_size_masks
from sa2va_cli.results import Question


def test_masks_resized_a_few_at_a_time_are_the_same(monkeypatch):
    logits = torch.randn(5, 16, 16, generator=torch.Generator().manual_seed(0))
    (whole,) = full_size_masks(logits, 64, 40, 30)
    for pixels, at_a_time in ((2 * 40 * 30, [2, 2, 1]), (1, [1] * 5)):
        monkeypatch.setattr(segmenter, "RESIZED_PIXELS", pixels)
        parts = list(full_size_masks(logits, 64, 40, 30))
        assert [len(part) for part in parts] == at_a_time
        assert torch.equal(torch.cat(parts), whole)


def test_a_frame_of_many_parts_is_one_array(golden_model, monkeypatch):
    picture = np.random.default_rng(4).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    asked = [Question("<image>Please segment the red circle and the green triangle.")]
    whole = golden_model.answer_image(picture, asked)[0].frames[0].masks
    monkeypatch.setattr(segmenter, "RESIZED_PIXELS", 1)
    parts = golden_model.answer_image(picture, asked)[0].frames[0].masks
    assert len(parts) > 1 and (parts == whole).all()


def test_the_threshold_is_that_of_a_float32_sigmoid():
    """sigmoid(1e-8) is 0.5 in float32, so such a logit counts as background."""
    logits = torch.full((1, 16, 16), 1e-8)
    (masks,) = full_size_masks(logits, 16, 16, 16)
    assert not masks.any()
    (masks,) = full_size_masks(logits * 100, 16, 16, 16)
    assert masks.all()


@pytest.mark.parametrize("shape", [(0, 4, 4), (1, 1, 1), (3, 5, 7), (2, 8, 16), (1, 0, 3)])
def test_masks_travel_as_bits_and_arrive_as_they_were(shape):
    masks = torch.rand(shape) > 0.5
    assert pack(masks).tolist() == np.packbits(masks.numpy()).tolist()
    sent = SentMasks(masks)  # of a processor's nothing is made
    Arrival(masks.device).wait()
    assert sent.numpy().shape == shape and (sent.numpy() == masks.numpy()).all()


def test_places_are_computed_once_and_give_the_same_bits(golden_model):
    encoder = golden_model.model.segmenter.image_encoder
    side = golden_model.config.segmenter.image_size
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    kept = encoder.backbone.kept_positions
    assert kept.shape[1:3] == (side // 4, side // 4)
    with torch.inference_mode():
        once = encoder(picture)
        encoder.backbone.kept_positions = None
        anew = encoder(picture)
    encoder.backbone.kept_positions = kept
    for level in ("coarse", "middle", "fine"):
        assert torch.equal(getattr(once, level), getattr(anew, level))
    assert not any("kept" in name for name in encoder.state_dict())


def test_memories_averaged_first_are_the_same_as_values_averaged(golden_model, monkeypatch):
    network = golden_model.model.segmenter.memory_attention
    assert network.averages_first  # on a processor
    assert not golden_model.steps.as_the_reference().model.segmenter.memory_attention.averages_first
    config = golden_model.config.segmenter
    side, width = config.feature_side, config.memory_size
    assert width < config.hidden_size
    random = torch.Generator().manual_seed(1)
    coarse = torch.randn(1, config.hidden_size, side, side, generator=random)
    memory = torch.randn(2, 3 * side**2 + 4, width, generator=random)
    positions = torch.randn(3 * side**2 + 4, width, generator=random)
    # The last block is a shorter one.
    monkeypatch.setattr(averaging, "KEYS_AT_A_TIME", side**2 // 3)
    averaged = network(coarse, memory, positions, 4)
    monkeypatch.setattr(averaging, "PAYS", 1e9)
    monkeypatch.setattr(averaging, "PAYS_FROM", 0)
    without_keys = network(coarse, memory, positions, 4)
    monkeypatch.setattr(network, "averages_first", False)
    wanted = network(coarse, memory, positions, 4)
    torch.testing.assert_close(averaged, wanted)
    torch.testing.assert_close(without_keys, wanted)
    for one, other in ((averaged, wanted), (without_keys, wanted), (averaged, without_keys)):
        assert not torch.equal(one, other)  # three ways of computing it
