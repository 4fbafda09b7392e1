"""What the language model has read of a conversation, kept between its turns."""

from itertools import takewhile

from sa2va_cli.models.sa2va.key_values import KeyValues


class KeptCells:
    """Token ids, and cells that begin with theirs.

    There may be more cells than ids: an answer that was broken off leaves them behind. Only those
    of `ids` count.
    """

    def __init__(self, cells: KeyValues) -> None:
        """`cells`: nothing is read yet."""
        self.ids: list[int] = []
        self.cells = cells

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
        self.cells.cut(len(self.ids))
