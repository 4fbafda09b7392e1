"""Likely answers, learned while answering: a draft is checked in the pass that reads the question.

Nothing is hard-wired to a checkpoint, and nothing here changes an answer: a draft is only a guess
that the model confirms token by token, or not.
"""

from collections import Counter, OrderedDict

MAX_KEYS = 4096  # kinds of question remembered; the one not asked for longest is forgotten
MAX_ANSWERS = 16  # different answers remembered for one kind
OPENING = 3  # questions that begin with the same so many tokens are of one kind
MIN_SHARE = 0.25  # an answer given less often than this is no good guess
MAX_DRAFT = 64  # tokens: longer answers are seldom repeated word for word

Ids = tuple[int, ...]


class DraftBook:
    """What this model answered, by question and by the opening of the question."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Ids, Counter[Ids]] = OrderedDict()

    def propose(self, question: Ids) -> Ids:
        """The most likely answer to a question, () if there is no good guess."""
        for key in _keys(question):
            answers = self._answers.get(key)
            if answers:
                # Sorted, so that a tie is broken alike however the answers came in.
                answer, count = max(answers.items(), key=lambda item: (item[1], item[0]))
                return answer if count >= MIN_SHARE * answers.total() else ()
        return ()

    def learn(self, question: Ids, answer: Ids) -> None:
        """Remember what was said."""
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


def _keys(question: Ids) -> tuple[Ids, Ids]:
    return question, (-1, *question[:OPENING])  # -1: an opening is no whole question
