"""The stages in which the language model learns.

speak   words, places, counting, refusing, with the vision tower as it is
ground  everything that a picture needs, together: [SEG] now becomes a mask
refine  what is said and drawn, for a segmenter that has gone on learning without them
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.demo.candidates import prompted, take, with_fine_levels
from sa2va_cli.demo.conversations import NO_LABEL, Sequences, tokenizer
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters, parameters_of
from sa2va_cli.demo.lessons import Lesson, Places, make_lesson, make_video_lesson
from sa2va_cli.demo.losses import dense_loss, mask_loss, pointer_loss
from sa2va_cli.demo.phrases import VALUES
from sa2va_cli.demo.targets import DenseTargets
from sa2va_cli.models.sa2va.vision import pixel_shuffle

VIDEO_BATCHES = (4, 5)  # of ten; neighbours, so that two workers have them in the same step


@dataclass(frozen=True, slots=True)
class Understood:
    """What came out of the language model for one lesson."""

    visual: Tensor  # (B, P, D) the visual tokens
    states: Tensor  # (B, L, D) final states
    prompts: Tensor  # (N, 1, C) for each [SEG]


class Speak:
    """Language on top of the vision tower, which it may not change.

    The gradients of a language model that knows nothing yet would spoil what the tower has learnt.
    """

    name = "speak"
    pictures = 40_000
    coolest = 0.3  # the next stage goes on from here
    batch = 8
    questions = 14  # or as many as there is room for

    def prepare(self, seeds: Sequence[int]) -> Lesson:
        return make_lesson(seeds, self.questions, drawn=0)

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        return [(language_parameters(learner), 1.0)]

    def loss(self, learner: Learner, lesson: Lesson) -> tuple[Tensor, Measures]:
        with torch.no_grad():
            patches = see(learner, lesson.pixel_values)
        understood = understand(learner, lesson, patches)
        loss, measures = language_loss(learner, lesson, understood)
        taught = teacher_loss(learner, lesson, understood)
        return loss + taught, measures | {"strange_prompt": [taught.item()]}


class Ground:
    """All but the segmenter's image encoder, the vision tower still under dense supervision."""

    name = "ground"
    pictures = 150_000
    coolest = 0.02
    batch = 8
    questions = 14  # or as many as there is room for
    drawn = 3  # masks a picture

    def prepare(self, seeds: Sequence[int]) -> Lesson:
        if seeds[0] // self.batch % 10 in VIDEO_BATCHES:
            return make_video_lesson(seeds[: self.batch // 2], 4, self.drawn)
        return make_lesson(seeds, self.questions, self.drawn)

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        vision = parameters_of(learner.model.vision_encoder) + parameters_of(learner.heads.dense)
        decoder = parameters_of(learner.model.segmenter.mask_decoder)
        return [(vision, 0.2), (decoder, 0.3), (language_parameters(learner), 0.4)]

    def loss(self, learner: Learner, lesson: Lesson) -> tuple[Tensor, Measures]:
        patches = see(learner, lesson.pixel_values)
        understood = understand(learner, lesson, patches)
        loss, measures = language_loss(learner, lesson, understood)
        drawn, ious = draw(learner, lesson, understood)
        loss, measures = loss + drawn, measures | ious
        if lesson.dense is None:
            return loss, {f"video_{name}": values for name, values in measures.items()}
        dense, seen = look(learner, lesson, patches)
        taught = teacher_loss(learner, lesson, understood)
        measures |= {"strange_prompt": [taught.item()]}
        return loss + dense + 0.5 * taught, measures | seen


class Refine:
    """Where training goes on: the segmenter has become another since `ground`, and videos are half
    of the lessons. It stays as it is, and so do the teaching heads, which a checkpoint lacks."""

    name = "refine"
    pictures = 20_000
    coolest = 0.02
    batch = 8
    questions = 14  # or as many as there is room for
    drawn = 4  # masks a picture

    def prepare(self, seeds: Sequence[int]) -> Lesson:
        # Neighbours are alike, so that two workers do not wait for each other.
        if seeds[0] // (2 * self.batch) % 2:
            return make_video_lesson(seeds[: self.batch // 2], 4, self.drawn)
        return make_lesson(seeds, self.questions, self.drawn)

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        return [(parameters_of(learner.model.vision_encoder), 0.05), (speakers(learner), 0.15)]

    def loss(self, learner: Learner, lesson: Lesson) -> tuple[Tensor, Measures]:
        understood = understand(learner, lesson, see(learner, lesson.pixel_values))
        spoken, exact = answer_loss(learner, lesson, understood.states)
        drawn, ious = draw(learner, lesson, understood)
        measures = exact | ious
        if lesson.dense is None:
            measures = {f"video_{name}": values for name, values in measures.items()}
        return 2 * spoken + drawn, measures


def language_parameters(learner: Learner) -> NamedParameters:
    heads = learner.heads
    return speakers(learner) + parameters_of(heads.position) + parameters_of(heads.pointers)


def speakers(learner: Learner) -> NamedParameters:
    """What speaks, without the heads that taught it."""
    model = learner.model
    parts = (model.projector, model.language_model, model.seg_bridge)
    return [pair for part in parts for pair in parameters_of(part)]


def see(learner: Learner, pixel_values: Tensor) -> Tensor:
    """(B, 3, TILE, TILE) -> patches (B, P, D) without the class token."""
    return learner.model.vision_encoder(pixel_values=pixel_values).last_hidden_state[:, 1:]


def look(learner: Learner, lesson: Lesson, patches: Tensor) -> tuple[Tensor, Measures]:
    """The vision tower's own lesson goes on, so that it forgets nothing."""
    assert lesson.dense is not None
    loss, seen = dense_loss(learner.heads.dense(patches), lesson.dense[0])
    return loss, {f"seen_{name}": [value] for name, value in seen.items()}


def project(learner: Learner, patches: Tensor) -> Tensor:
    """Patches (B, P, D') -> visual tokens (B, P / 4, D)."""
    side = round(patches.shape[1] ** 0.5)
    ratio = learner.model.config.vision.downsample_ratio
    grid = pixel_shuffle(patches.unflatten(1, (side, side)), ratio)
    return learner.model.projector(grid.flatten(1, 2))


def read(learner: Learner, sequences: Sequences, visual: Tensor) -> Tensor:
    """Sequences and the visual tokens (B, P, D) of their pictures -> final states (B, L, D)."""
    language_model = learner.model.language_model.model
    words = language_model.embed_tokens(sequences.ids)
    places = sequences.visual.clamp(min=0)[..., None].expand(-1, -1, words.shape[-1])
    embeddings = torch.where(sequences.visual[..., None] >= 0, visual.gather(1, places), words)
    return language_model(
        inputs_embeds=embeddings,
        attention_mask=sequences.attention_mask(),
        position_ids=sequences.positions,
        use_cache=False,
    ).last_hidden_state


def understand(learner: Learner, lesson: Lesson, patches: Tensor) -> Understood:
    """Everything up to the prompts."""
    visual = project(learner, patches).unflatten(0, (len(lesson.sequences.ids), -1)).flatten(1, 2)
    states = read(learner, lesson.sequences, visual)
    prompts = learner.model.seg_bridge(states[lesson.segs.pictures, lesson.segs.tokens])
    return Understood(visual, states, prompts)


def language_loss(
    learner: Learner, lesson: Lesson, understood: Understood
) -> tuple[Tensor, Measures]:
    """All that is taught about words and places, with the teaching heads."""
    visual, states = understood.visual, understood.states
    naming = torch.zeros((), device=visual.device)
    measures: Measures = {}
    if lesson.dense is not None:
        naming, measures = naming_loss(learner, visual, lesson.dense[1])
    spoken, exact = answer_loss(learner, lesson, states)
    before, before_hits = pointing(learner, lesson.answers, states, visual)
    told, told_hits = pointing(learner, lesson.told, states, visual)
    at_seg, seg_hits = pointing(learner, lesson.segs, states, visual)
    measures = measures | exact | _by_kind("points", lesson.segs.kinds, seg_hits)
    measures |= _by_kind("before", lesson.answers.kinds, before_hits)
    measures["points_told"] = told_hits.float().tolist()
    return naming + 2 * spoken + 0.5 * (before + told + at_seg), measures


def naming_loss(learner: Learner, visual: Tensor, targets: DenseTargets) -> tuple[Tensor, Measures]:
    """Each visual token should look like the words for what it shows, and know where that is.

    The classifier is the language model's own word embeddings: without this, a small language
    model hardly ever finds out that pictures matter.
    """
    covered = targets.values[..., 0] >= 0
    tokens, wanted = visual[covered], targets.values[covered]
    place = learner.heads.position(tokens)
    misplaced = (place[:, :2] - targets.centers[covered]).abs().mean()
    counted = targets.counted[covered].float()
    loss = 12 * misplaced + F.binary_cross_entropy_with_logits(place[:, 2], counted)
    right = ((place[:, 2] > 0) == (counted > 0)).float().mean()
    measures: Measures = {"misplaced": [misplaced.item()], "counted": [right.item()]}
    embeddings = learner.model.language_model.model.embed_tokens.weight
    for attribute, ids in enumerate(word_ids()):
        logits = tokens @ embeddings[torch.tensor(ids, device=visual.device)].T
        loss = loss + 0.5 * F.cross_entropy(logits, wanted[:, attribute])
        right = logits.argmax(dim=1) == wanted[:, attribute]
        measures[f"names_{('size', 'fill', 'color', 'shape')[attribute]}"] = [
            right.float().mean().item()
        ]
    return loss, measures


def word_ids() -> list[list[int]]:
    """The token of each attribute's value."""
    return [[tokenizer().encode(f" {value}").ids[0] for value in values] for values in VALUES]


def answer_loss(learner: Learner, lesson: Lesson, states: Tensor) -> tuple[Tensor, Measures]:
    """Next words of the answers; the first words count more: they are all that refusals, yes or no
    and numbers depend on."""
    labels = lesson.sequences.labels[:, 1:]
    answered = labels != NO_LABEL
    logits = learner.model.language_model.lm_head(states[:, :-1][answered])
    wanted = labels[answered]
    losses = F.cross_entropy(logits, wanted, reduction="none")
    grid = torch.zeros(labels.shape, device=losses.device)
    grid[answered] = losses
    first = grid[lesson.answers.pictures, lesson.answers.tokens]
    with torch.no_grad():
        wrong = torch.zeros(labels.shape, dtype=torch.bool, device=losses.device)
        wrong[answered] = logits.argmax(dim=1) != wanted
        exact = _exact_answers(lesson, wrong)
    return losses.mean() + 1.5 * first.mean(), exact


def _exact_answers(lesson: Lesson, wrong: Tensor) -> Measures:
    """Whether each whole answer would be said, given its beginning."""
    measures: Measures = {}
    labels = (lesson.sequences.labels[:, 1:] != NO_LABEL).tolist()
    mistakes = wrong.tolist()
    answers = lesson.answers
    for picture, token, kind in zip(
        answers.pictures.tolist(), answers.tokens.tolist(), answers.kinds, strict=True
    ):
        end = token
        while end < len(labels[picture]) and labels[picture][end]:
            end += 1
        right = not any(mistakes[picture][token:end])
        measures.setdefault(f"says_{kind}", []).append(float(right))
    return measures


def pointing(
    learner: Learner, places: Places, states: Tensor, visual: Tensor
) -> tuple[Tensor, Tensor]:
    """The states at some tokens point at what they are about."""
    if not places.kinds:
        return visual.new_zeros(()), visual.new_zeros(0)
    chosen = states[places.pictures, places.tokens]
    logits = learner.heads.pointers(chosen, visual, places.pictures)
    return pointer_loss(logits, places.pointers)


def teacher_loss(learner: Learner, lesson: Lesson, understood: Understood) -> Tensor:
    """Prompts should be those of the teacher, whom the segmenter understands: for a single thing
    by its box and attributes, for several by what they share."""
    objects = lesson.objects
    taught = objects.taught
    if not learner.has_teacher or not taught.any():
        return understood.prompts.new_zeros(())
    with torch.no_grad():
        wanted = learner.heads.teacher(
            objects.boxes[taught], objects.boxed[taught], objects.values[taught]
        )
    return F.mse_loss(understood.prompts[taught], wanted) / wanted.var().clamp(min=1e-4)


def draw(learner: Learner, lesson: Lesson, understood: Understood) -> tuple[Tensor, Measures]:
    """The chosen [SEG] become masks."""
    chosen = lesson.objects.drawn
    assert lesson.sam_pixel_values is not None
    segmenter = learner.model.segmenter
    features = segmenter.image_encoder(lesson.sam_pixel_values)
    features = take(with_fine_levels(segmenter, features), lesson.segs.pictures[chosen])
    drawn = prompted(segmenter, features, understood.prompts[chosen])
    loss, ious = mask_loss(drawn.mask_logits, drawn.ious, lesson.objects.masks[chosen])
    kinds = tuple(lesson.segs.kinds[number] for number in chosen.tolist())
    return loss, _by_kind("iou", kinds, ious)


def _by_kind(name: str, kinds: tuple[str, ...], values: Tensor) -> Measures:
    measures: Measures = {}
    for kind, value in zip(kinds, values.float().tolist(), strict=True):
        measures.setdefault(f"{name}_{kind}", []).append(value)
    return measures
