"""What the parts are trained to minimise, and the measures that are shown meanwhile."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.demo.targets import BACKGROUND, DenseTargets


def dense_loss(
    seen: tuple[list[Tensor], Tensor], targets: DenseTargets
) -> tuple[Tensor, dict[str, float]]:
    """Attributes of covered patches, background elsewhere, and where the thing's center is."""
    logits, centers = seen
    covered = targets.values[..., 0] >= 0
    clear = targets.values[..., 0] == BACKGROUND
    # Absolute places: nothing else would teach the tower where in the picture it is looking.
    loss = 12 * (centers[covered] - targets.centers[covered]).abs().mean()
    shown = {}
    for attribute, name in enumerate(("size", "fill", "color", "shape")):
        wanted = targets.values[covered][:, attribute] + 1
        found = logits[attribute][covered]
        loss = loss + F.cross_entropy(found, wanted)
        background = logits[attribute][clear].log_softmax(dim=-1)[:, 0]
        loss = loss - 0.3 * background.mean()
        shown[name] = (found.argmax(dim=-1) == wanted).float().mean().item()
    return loss, shown


def mask_loss(logits: Tensor, ious: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates (N, 3, s, s), their predicted IoUs (N, 3), soft masks (N, S, S), perhaps finer.

    All candidates learn the same mask: the questions of this world are not ambiguous. Returns the
    loss, and each object's IoU (N,) for the candidate that would be chosen.
    """
    logits = F.interpolate(logits, targets.shape[-2:], mode="bilinear")  # as for masks at full size
    wanted = targets[:, None].expand_as(logits)
    pixelwise = F.binary_cross_entropy_with_logits(logits, wanted)
    shown = logits.sigmoid()
    overlap = 2 * (shown * wanted).sum(dim=(2, 3)) + 1
    area = (shown**2).sum(dim=(2, 3)) + (wanted**2).sum(dim=(2, 3)) + 1
    with torch.no_grad():
        inside, real = logits > 0, wanted > 0.5
        union = (inside | real).sum(dim=(2, 3)).clamp(min=1)
        true_ious = (inside & real).sum(dim=(2, 3)) / union
        chosen = true_ious.gather(1, ious.argmax(dim=1, keepdim=True))[:, 0]
    score = F.mse_loss(ious, true_ious)
    return 5 * pixelwise + (1 - overlap / area).mean() + 0.2 * score, chosen


def pointer_loss(logits: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, P + 1) against shares (N, P + 1) that sum to one; and whether each hits."""
    loss = -(cells * logits.log_softmax(dim=1)).sum(dim=1).mean()
    best = cells.gather(1, logits.argmax(dim=1, keepdim=True))[:, 0]
    return loss, best > 0.2 * cells.max(dim=1).values
