"""Likely answers, learned while answering: a draft is checked in the pass that reads the question.

Nothing is hard-wired to a checkpoint, and nothing here changes an answer: a draft is only a guess
that the model confirms token by token, or not.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence

from sa2va_cli.models.sa2va.tokenizer import Ids

MAX_KEYS = 4096  # kinds of question remembered; the one not asked for longest is forgotten
MAX_ANSWERS = 16  # different answers remembered for one kind
OPENING = 3  # questions that begin with the same so many tokens are of one kind
MIN_SHARE = 0.25  # an answer given less often than this is no good guess
MAX_DRAFT = 64  # tokens: longer answers are seldom repeated word for word
CONTEXTS = (3, 2, 1)  # so many last tokens tell what may follow; the longest that is known counts
MAX_FOLLOWING = 8  # tokens drafted in the middle of an answer
MAX_CONTEXTS = 65536


class DraftBook:
    """What this model answered, by question and by the opening of the question."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Ids, Counter[Ids]] = OrderedDict()
        self._following: dict[Ids, Ids] = {}  # what came last behind some tokens

    def propose(self, question: Ids) -> Ids:
        """The most likely answer to a question, () if there is no good guess."""
        for key in _keys(question):
            answers = self._answers.get(key)
            if answers:
                # Sorted, so that a tie is broken alike however the answers came in.
                answer, count = max(answers.items(), key=lambda item: (item[1], item[0]))
                return answer if count >= MIN_SHARE * answers.total() else ()
        return ()

    def follow(self, ids: Sequence[int]) -> Ids:
        """What may come next in an unfinished answer: what came before, in it or in others."""
        for length in CONTEXTS:
            context = tuple(ids[-length:])
            if len(context) < length:
                continue
            for end in range(len(ids) - 1, length - 1, -1):
                if tuple(ids[end - length : end]) == context:
                    return tuple(ids[end : end + MAX_FOLLOWING])
            if context in self._following:
                return self._following[context]
        return ()

    def learn(self, question: Ids, answer: Ids) -> None:
        """Remember what was said."""
        self._learn_following(answer)
        if len(answer) > MAX_DRAFT:
            return
        for key in _keys(question):
            answers = self._answers.setdefault(key, Counter())
            self._answers.move_to_end(key)
            answers[answer] += 1
            if len(answers) > MAX_ANSWERS:
                del answers[min(answers, key=lambda known: (answers[known], known))]
        while len(self._answers) > MAX_KEYS:
            self._answers.popitem(last=False)

    def _learn_following(self, answer: Ids) -> None:
        if len(self._following) > MAX_CONTEXTS:
            self._following.clear()
        for length in CONTEXTS:
            for end in range(length, len(answer)):
                self._following[answer[end - length : end]] = answer[end : end + MAX_FOLLOWING]


def _keys(question: Ids) -> tuple[Ids, Ids]:
    return question, (-1, *question[:OPENING])  # -1: an opening is no whole question
