"""Categories of a job: one id each, and the sentences that were asked under it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sa2va_cli.results import ItemResult, ObjectRecord, ResultReader


@dataclass(frozen=True, slots=True)
class Category:
    category_id: int  # from 1
    name: str
    prompts: tuple[str, ...]  # the sentences that users wrote, in the order of their prompts

    def to_json(self) -> dict[str, Any]:
        return {"id": self.category_id, "name": self.name, "prompts": list(self.prompts)}


class Categories:
    """Categories by name, with those that were asked for and never found.

    Ids follow the user's order of prompts, then the name: they depend neither on the order in
    which items were done nor on which items have objects. All phrases of a caption are in the
    category of the request, and keep their words as labels.
    """

    def __init__(self, results: ResultReader) -> None:
        first_prompt: dict[str, int] = {}
        prompts: dict[str, dict[str, int]] = {}  # name -> sentence -> its first place
        for item in results.items():
            for name, prompt_idx, sentence in _mentions(item):
                first_prompt[name] = min(prompt_idx, first_prompt.get(name, prompt_idx))
                places = prompts.setdefault(name, {})
                places[sentence] = min(prompt_idx, places.get(sentence, prompt_idx))
        self._by_name: dict[str, Category] = {}
        for name in sorted(first_prompt, key=lambda n: (first_prompt[n], n)):
            places = prompts[name]
            sentences = sorted(places, key=lambda sentence: (places[sentence], sentence))
            self._add(name, tuple(sentences))

    def __iter__(self) -> Iterator[Category]:
        return iter(self._by_name.values())

    def id_of(self, record: ObjectRecord) -> int:
        """A category that a running job has found since the results were looked through is
        added at the end."""
        if record.category not in self._by_name:
            self._add(record.category, (record.label,))
        return self._by_name[record.category].category_id

    def _add(self, name: str, sentences: tuple[str, ...]) -> None:
        self._by_name[name] = Category(len(self._by_name) + 1, name, sentences)


def _mentions(item: ItemResult) -> list[tuple[str, int, str]]:
    """(category, prompt_idx, sentence) for each answer and object of one item."""
    sentences = {answer.prompt_idx: answer.prompt for answer in item.answers}
    with_objects = {(o.category, o.prompt_idx): o.label for o in item.objects}
    asked = [(a.category, a.prompt_idx, a.prompt) for a in item.answers]
    found = [
        (category, prompt_idx, sentences.get(prompt_idx, label))
        for (category, prompt_idx), label in with_objects.items()
    ]
    return asked + found
