from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sa2va_cli.demo.build import SAM_SIZE, fresh_model
from sa2va_cli.demo.candidates import Candidates, take, with_fine_levels
from sa2va_cli.demo.export import trained_model, write_checkpoint
from sa2va_cli.demo.following import KINDS, LONG, PICTURES, Track, recent_frames
from sa2va_cli.demo.learner import Learner
from sa2va_cli.demo.losses import mask_loss
from sa2va_cli.demo.motion import PROMPTED
from sa2va_cli.demo.optimiser import Optimisers, orthogonal
from sa2va_cli.demo.recalling import STILLS, Recall
from sa2va_cli.demo.seeing import Look, Teach
from sa2va_cli.demo.speaking import Ground, Refine
from sa2va_cli.demo.train import STAGES, Run, StageRun, load_stages, rate_factor
from sa2va_cli.demo.watching import (
    Watching,
    frame_loss,
    matching_loss,
    shown_things,
    stray_loss,
)
from sa2va_cli.models.sa2va.memory import RopeAttention
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.models.sa2va.tracker import Tracker


def run_in(folder, warm_start=None):
    return Run(folder, tuple(STAGES), 1, 1.0, None, "cpu", 0, warm_start)


class ShortLook(Look):
    """Four steps."""

    batch = 2
    pictures = 8


class ShortTeach(Teach):
    batch = 1
    pictures = 1


def test_a_stopped_stage_goes_on_to_the_same_weights(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = StageRun(run_in(tmp_path / "whole"), ShortLook(), 0)
    whole.train()
    StageRun(run_in(tmp_path / "parts"), ShortLook(), 0).train(steps=2)
    rest = StageRun(run_in(tmp_path / "parts"), ShortLook(), 0)
    assert rest.step == 2
    rest.train()

    assert rest.step == whole.step == 4
    found = dict(rest.learner.named_parameters())
    for name, weight in whole.learner.named_parameters():
        torch.testing.assert_close(found[name], weight)


def test_a_stage_moves_its_own_weights_and_no_others():
    learner = Learner(fresh_model())
    before = {name: weight.clone() for name, weight in learner.named_parameters()}
    stage = ShortLook()
    groups = stage.groups(learner)
    optimisers = Optimisers(groups)
    loss, measures = stage.loss(learner, stage.prepare(range(2)))
    loss.backward()
    optimisers.step(1.0)
    own = {id(parameter) for named, _ in groups for _, parameter in named}
    for name, weight in learner.named_parameters():
        if id(weight) not in own:
            assert (weight == before[name]).all(), name
    moved = "model.vision_encoder.encoder.layer.0.mlp.fc1.weight"
    assert (dict(learner.named_parameters())[moved] != before[moved]).any()
    assert set(measures) == {"size", "fill", "color", "shape"}


def test_pictures_and_videos_teach_the_whole_model():
    learner = Learner(fresh_model())
    stage = Ground()
    for seeds in (range(4), range(32, 36)):  # a step of pictures, a step of videos
        loss, measures = stage.loss(learner, stage.prepare(seeds))
        loss.backward()
        assert loss.isfinite()
    assert any(name.startswith("iou_") for name in stage.loss(learner, stage.prepare(range(4)))[1])
    assert any(name.startswith("video_iou_") for name in measures)
    untouched = [
        name
        for named, _ in stage.groups(learner)
        for name, parameter in named
        if parameter.grad is None
    ]
    assert not [name for name in untouched if "layer" in name and "obj_score" not in name]


@pytest.mark.parametrize("make_stage", [Recall, Track])
def test_memory_learns_through_the_shipped_tracker(make_stage):
    learner = Learner(fresh_model())
    learner.has_teacher = True
    stage = make_stage()
    learner.requires_grad_(False)
    for named, _ in stage.groups(learner):
        for _, parameter in named:
            parameter.requires_grad_(True)
    loss, measures = stage.loss(learner, stage.prepare(range(2)))
    loss.backward()
    segmenter = learner.model.segmenter
    assert segmenter.memory_time_embedding.grad.abs().sum() > 0
    assert segmenter.pointer_projection.proj_in.weight.grad.abs().sum() > 0
    assert learner.heads.remembered.weight.grad.abs().sum() > 0
    assert measures.keys() & {"tracked_iou", "followed_iou"}


def test_bfloat16_teaches_memory_the_same(monkeypatch):
    """Processors without it convert, which is slow and gives the same."""
    learner = Learner(fresh_model())
    learner.has_teacher = True
    batch = Recall().prepare(range(2))
    losses, gradients = [], []
    for rounded in (False, True):
        found = {"amx_bf16": rounded}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        learner.zero_grad()
        loss, _ = Recall().loss(learner, batch)
        assert torch.is_autocast_enabled("cpu") is False and loss.dtype == torch.float32
        loss.backward()
        losses.append(loss.item())
        parts = [p.grad for p in learner.parameters() if p.grad is not None]
        assert {part.dtype for part in parts} == {torch.float32}
        gradients.append(torch.cat([part.flatten() for part in parts]))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert F.cosine_similarity(*gradients, dim=0) > 0.98


@pytest.mark.parametrize("kind", ["videos", "pictures"])
def test_the_image_encoder_learns_what_memory_needs_and_forgets_no_picture(kind):
    learner = Learner(fresh_model()).requires_grad_(False)
    learner.has_teacher = True
    stage = Recall()
    for named, _ in stage.groups(learner):
        for _, parameter in named:
            parameter.requires_grad_(True)
    first = 0 if kind == "videos" else 2 * stage.batch * (STILLS - 1)
    loss, measures = stage.loss(learner, stage.prepare(range(first, first + 1)))
    assert ("still_iou" in measures) == (kind == "pictures")
    loss.backward()
    encoder = learner.model.segmenter.image_encoder
    assert all(weight.grad.abs().sum() > 0 for weight in encoder.neck.parameters())


def test_what_is_asked_to_recall_is_not_told():
    """The masks of the asked frame must not reach memory: it would be found in no other way."""
    learner = Learner(fresh_model()).requires_grad_(False)
    stage = Recall()
    with pytest.raises(ValueError, match="trace"):
        stage.loss(learner, stage.prepare(range(1)))
    learner.has_teacher = True
    album = stage.prepare(range(2))
    last = album.masks.clone()
    last[-1] = 0
    drawn = []
    for masks in (album.masks, last):
        asked = []
        hook = learner.heads.remembered.register_forward_hook(
            lambda _, given, told, kept=asked: kept.append(told)
        )
        stage.loss(learner, replace(album, masks=masks))
        hook.remove()
        drawn.append(asked)
    assert len(drawn[0]) == 3
    for one, other in zip(*drawn, strict=True):
        assert torch.equal(one, other)


def test_long_videos_teach_by_their_end():
    learner = Learner(fresh_model()).requires_grad_(False)
    stage = Track()
    for named, _ in stage.groups(learner):
        for _, parameter in named:
            parameter.requires_grad_(True)
    long = 2 * stage.batch * KINDS.index(LONG)
    footage = stage.prepare(range(long, long + 2))
    assert len(footage.masks) - footage.free < 10
    loss, _ = stage.loss(learner, footage)
    loss.backward()
    assert learner.model.segmenter.memory_time_embedding.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("stage", "first"),
    [
        (Recall(), 2 * Recall.batch * (STILLS - 1)),
        (Track(), 2 * Track.batch * KINDS.index(PICTURES)),
    ],
)
def test_single_pictures_come_in_between_and_teach_the_decoder(stage, first):
    learner = Learner(fresh_model()).requires_grad_(False)
    for named, _ in stage.groups(learner):
        for _, parameter in named:
            parameter.requires_grad_(True)
    loss, measures = stage.loss(learner, stage.prepare(range(first, first + 2)))
    loss.backward()
    assert len(measures["still_iou"]) > 8
    assert learner.model.segmenter.mask_decoder.iou_prediction_head.proj_out.weight.grad.any()


@pytest.mark.parametrize("is_seen", [False, True])
def test_what_is_drawn_beside_a_thing_costs_the_more_the_surer_it_is(is_seen):
    masks, never = torch.zeros(1, 48, 48), torch.zeros(1, dtype=torch.bool)
    right = torch.full((1, 3, 48, 48), -20.0)
    if is_seen:
        masks[..., 20:30, 20:30], right[..., 20:30, 20:30] = 1, 20
    sure, surer = right.clone(), right.clone()
    sure[..., :8, :8], surer[..., :8, :8] = 5, 10
    there = torch.full((1,), 9.0 if is_seen else -9.0)
    losses = [
        frame_loss(
            Candidates(logits, torch.full((1, 3), float(is_seen)), torch.zeros(1, 3, 1), there),
            masks,
            "tracked",
            never,
        )[0].item()
        for logits in (right, sure, surer)
    ]
    assert losses[0] < 0.01
    assert losses[2] - losses[1] > 1


def test_memory_holds_what_was_drawn_of_some_things_and_the_truth_of_others():
    learner = Learner(fresh_model())
    learner.has_teacher = True
    album = Recall().prepare(range(4))
    assert 0 < album.own.sum() < len(album.own)
    assert not album.own[album.held != torch.arange(len(album.held))].any()  # mistaken ones stay so
    newest = replace(album, remembered=(((0,), 4),) * len(album.remembered))
    losses = {
        own: Recall().loss(learner, replace(newest, own=torch.full_like(album.own, own)))[0].item()
        for own in (False, True)
    }
    assert losses[False] != losses[True]


def test_masks_are_judged_as_finely_as_they_are_used():
    cells = torch.zeros(1, 1, 24, 24)
    cells[..., 6:16, 6:16] = 1
    true = F.interpolate(cells, scale_factor=2)[:, 0]
    even, uneven = 10 * cells - 5, 10 * cells - 9
    ious = [
        mask_loss(logits.expand(1, 3, -1, -1), torch.zeros(1, 3), true)[1].item()
        for logits in (even, uneven)
    ]
    assert ious[0] == 1  # cell by cell both are right,
    assert ious[1] < 0.85  # but one falls off so steeply outside that it is drawn too small


def test_the_edge_of_a_thing_is_no_other_thing():
    masks, logits = torch.zeros(1, 48, 48), torch.full((1, 3, 48, 48), -20.0)
    masks[..., 20:30, 20:30] = 1
    logits[..., 18:32, 18:32] = 5
    assert stray_loss(logits, masks) < 0.01
    logits[..., 36:42, 36:42] = 5
    assert stray_loss(logits, masks) > 1


def test_the_rate_warms_up_stays_and_cools_down():
    assert rate_factor(0, 0.0, 0.1) < 0.1
    assert rate_factor(100, 0.4, 0.1) == 1.0
    assert rate_factor(100, 0.6, 0.1) > rate_factor(100, 0.8, 0.1) > 0.1
    assert rate_factor(100, 1.0, 0.1) == pytest.approx(0.1)


@torch.inference_mode()
def test_the_watching_segmenter_draws_what_the_real_one_draws():
    segmenter = fresh_model().segmenter
    prompts = torch.randn(2, 1, 128)
    watching = Watching(segmenter)
    real, watched = Tracker(segmenter), Tracker(watching)
    for time in range(7):
        features = segmenter.encode(torch.randn(1, 3, SAM_SIZE, SAM_SIZE))
        each = take(with_fine_levels(segmenter, features), torch.tensor([0, 0]))
        if time < 5:
            expected = segmenter.decode_prompts(features, prompts)
            found = watching.decode_prompts(each, prompts)
            real.condition(time, features, expected)
            watched.condition(time, each, found)
        else:
            expected, found = real.track_frame(time, features), watched.track_frame(time, each)
        torch.testing.assert_close(found.mask_logits, expected.mask_logits)
        torch.testing.assert_close(found.pointers, expected.pointers)


def test_muon_steps_along_orthogonal_matrices():
    for shape in ((3, 24, 40), (2, 40, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.5 and values.max() < 1.3


def test_optimisers_find_a_minimum():
    layer = nn.Linear(16, 16)
    wanted = torch.randn(16, 16)
    optimisers = Optimisers([(list(layer.named_parameters()), 1.0)])
    inputs = torch.randn(64, 16)

    def loss():
        return ((layer(inputs) - inputs @ wanted) ** 2).mean()

    before = loss().item()
    for _ in range(300):
        optimisers.zero_grad()
        value = loss()
        value.backward()
        optimisers.step(3.0)
    assert value.item() < 0.3 * before


def test_what_is_exported_loads_and_starts_training_again(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    StageRun(run_in(state), ShortLook(), 0).save()
    model = trained_model(state)
    write_checkpoint(model, tmp_path / "checkpoint")

    loaded = Sa2VA.from_pretrained(str(tmp_path / "checkpoint"), device="cpu", dtype="float32")
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.bfloat16().float())

    again = tmp_path / "again"
    again.mkdir()
    warm = StageRun(run_in(again, tmp_path / "checkpoint"), ShortLook(), 0)
    shipped = loaded.model.state_dict()
    name = "language_model.model.embed_tokens.weight"
    assert (warm.learner.model.state_dict()[name] == shipped[name]).all()
    warm.train(1)
    StageRun(run_in(again), ShortLook(), 0).train(1)  # goes on without the checkpoint
    StageRun(run_in(again), ShortTeach(), 0).save()
    after = trained_model(again).state_dict()
    changed = {name for name in shipped if (after[name] != shipped[name]).any()}
    assert changed and all(name.startswith("vision_encoder.") for name in changed)


def test_a_stand_in_is_taught_without_a_change_to_the_segmenter(tmp_path):
    run = StageRun(run_in(tmp_path), ShortTeach(), 0)
    before = {name: weight.clone() for name, weight in run.learner.state_dict().items()}
    run.train(1)
    after = run.learner.state_dict()
    changed = {name for name in after if (after[name] != before[name]).any()}
    assert changed and all(name.startswith("heads.teacher.") for name in changed)
    learner = Learner(fresh_model())
    load_stages(learner, tmp_path, ["teach"])
    assert learner.has_teacher


class ShortRefine(Refine):
    batch = 2
    pictures = 2


class ShortRecall(Recall):
    batch = 1
    pictures = 1


@pytest.mark.parametrize("kind", ["pictures", "videos"])
def test_language_goes_on_with_a_segmenter_that_stays_as_it_has_become(tmp_path, kind):
    StageRun(run_in(tmp_path), ShortTeach(), 0).save()
    recalled = StageRun(run_in(tmp_path), ShortRecall(), 0)
    recalled.train(1)
    run = StageRun(run_in(tmp_path), ShortRefine(), 0)
    if kind == "videos":
        run.pictures = 2 * run.stage.batch
    lesson = run.stage.prepare(range(run.pictures, run.pictures + run.stage.batch))
    assert (lesson.dense is None) == (kind == "videos") and len(lesson.objects.drawn) > 0
    run.optimisers.zero_grad()
    run.stage.loss(run.learner, lesson)[0].backward()
    run.optimisers.step(1.0)
    run.save()

    before = recalled.learner.model.state_dict()
    after = trained_model(tmp_path).state_dict()
    changed = {name.split(".")[0] for name in after if (after[name] != before[name]).any()}
    assert changed == {"vision_encoder", "projector", "language_model", "seg_bridge"}


def test_a_cell_that_looks_where_the_same_thing_was_loses_nothing():
    attention = RopeAttention(4, 4)
    table = torch.ones(2, 2, dtype=torch.complex64)  # a frame of two cells, without places
    for linear in (attention.q_proj, attention.k_proj):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    looks = 30 * torch.eye(4)[None, :2]  # (1, 2, 4): two things that look different
    sought, swapped = torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    reads = [(attention, (looks, looks.clone(), None, table, 0))]
    right, measures = matching_loss(reads, sought, sought)
    assert right < 1e-3 and measures["matched"] == pytest.approx([1, 1])
    wrong, _ = matching_loss(reads, sought, swapped)
    assert wrong > 10
    nowhere, measures = matching_loss(reads, sought, torch.tensor([[-1, -1]]))
    assert nowhere == 0 and measures["matched"] == []


def test_cells_show_the_things_of_their_own_video():
    masks = torch.zeros(3, 4, 4)
    masks[0, :2, :2] = masks[2, 2:, 2:] = 1
    masks[1, :2, 2] = 1  # half a cell
    videos = torch.tensor([0, 0, 1])
    assert shown_things(masks, videos, 2).tolist() == [
        [0, 1, -1, -1],
        [0, 1, -1, -1],
        [-1, -1, -1, 2],
    ]


def test_memory_s_cells_are_lined_up_as_the_tracker_does():
    learner = Learner(fresh_model()).requires_grad_(False)
    segmenter = learner.model.segmenter
    watching = Watching(segmenter)
    tracker = Tracker(watching)
    features = segmenter.encode(torch.rand(1, 3, SAM_SIZE, SAM_SIZE))
    fine = with_fine_levels(segmenter, features)
    for time in range(PROMPTED):
        tracker.condition(time, fine, watching.decode_prompts(fine, torch.rand(1, 1, 128)))
    for time in range(PROMPTED, PROMPTED + 9):
        bank = tracker.bank()
        remembered = {one.frame_idx: one.memory for one in (*bank.conditioning, *bank.recent)}
        tracker.track_frame(time, fine)
        memory = watching.reads[0][1][2]  # (1, K, D)
        frames = [*range(PROMPTED), *recent_frames(time)]
        count = (SAM_SIZE // 16) ** 2
        cells = memory[:, : count * len(frames)].split(count, dim=1)
        for one, frame in zip(cells, frames, strict=True):
            assert torch.equal(one, remembered[frame].to(one.dtype))
        assert len(frames) == len(remembered)
