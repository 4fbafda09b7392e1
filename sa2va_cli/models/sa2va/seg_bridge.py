"""The bridge from language to masks: hidden states at [SEG] tokens become SAM 2 prompts."""

from torch import Tensor, nn


class SegBridge(nn.Module):
    """Projects N [SEG] states to N prompts of SAM 2's width C."""

    def __init__(self, language_dim: int, prompt_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(language_dim, language_dim),
            nn.ReLU(),
            nn.Linear(language_dim, prompt_dim),
        )

    def forward(self, seg_states: Tensor) -> Tensor:
        prompts = self.layers(seg_states)  # (N, D) -> (N, C)
        return prompts.unsqueeze(1)  # (N, 1, C): one sparse prompt per object
