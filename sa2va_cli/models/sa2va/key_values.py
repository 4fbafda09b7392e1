"""What the language model has read, as its attention needs it again."""

from torch import Tensor
from transformers import Qwen2Config

GROWTH = 256  # cells: whoever reads token by token seldom waits for more memory


class KeyValues:
    """Keys and values of one sequence for all layers, in memory that grows as it is read.

    `store` (layers, 2, heads, capacity, head_dim) keeps them, keys first. Only the first `length`
    cells count: what lies behind them may be anything, and is written over.
    """

    def __init__(self, config: Qwen2Config, like: Tensor) -> None:
        """Empty, on the device and in the dtype of `like`."""
        heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        heads = config.num_key_value_heads or heads
        self.length = 0
        self.store = like.new_empty(config.num_hidden_layers, 2, heads, 0, width)

    @property
    def heads(self) -> int:
        """Of keys, and as many of values."""
        return self.store.shape[2]

    @property
    def cell_bytes(self) -> int:
        """What each cell takes."""
        layers, pair, heads, _, width = self.store.shape
        return layers * pair * heads * width * self.store.element_size()

    def make_room(self, count: int) -> None:
        """So many cells behind those that count can be written."""
        *sizes, capacity, width = self.store.shape
        needed = self.length + count
        if needed <= capacity:
            return
        larger = self.store.new_empty(*sizes, needed + GROWTH, width)
        larger[..., : self.length, :] = self.store[..., : self.length, :]
        self.store = larger

    def cut(self, length: int) -> None:
        """Forget all but the first cells."""
        self.length = min(self.length, length)
