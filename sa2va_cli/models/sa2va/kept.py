"""What the language model has read of a conversation, kept between its turns."""

from itertools import takewhile

from transformers import DynamicCache, Qwen2Config


class KeptCells:
    """Token ids, and a key-value cache that begins with their cells.

    The cache may hold more cells than there are ids, and not the same number in each layer: a pass
    that was broken off leaves that behind. Only cells of `ids` count.
    """

    def __init__(self, config: Qwen2Config) -> None:
        self._config = config
        self.ids: list[int] = []
        self.cache = DynamicCache(config=config)

    def keep(self, ids: list[int]) -> int:
        """Forget all that is not a beginning of `ids`; returns how many tokens stay.

        The last one never does: somebody has to predict what comes after it.
        """
        pairs = zip(self.ids, ids[:-1], strict=False)
        length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.cut(length)
        return length

    def cut(self, length: int) -> None:
        """Forget all but the first tokens."""
        self.ids = self.ids[:length]  # before the cells: then it does not matter who is interrupted
        if not self.ids:
            self.cache = DynamicCache(config=self._config)
            return
        for layer in self.cache.layers:
            layer.keys = layer.keys[..., : len(self.ids), :]
            layer.values = layer.values[..., : len(self.ids), :]
