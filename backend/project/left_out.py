"""What people are to know of the annotated tasks: which are left out, and why; how several annotations of one count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

FILE = "left_out.json"  # beside the version that was trained without them
NAMED = 10  # tasks that a line names
RULES = {
    "newest": "the newest counts (SEVERAL_ANNOTATIONS=majority merges them)",
    "majority": "merged, what most annotators drew counts",
}
"""Which of several annotations of a task counts, where none is a ground truth: the settings' `several_annotations`."""


@dataclass
class LeftOut:
    """Tasks by reason.

    Attributes:
        labeled: how many tasks are annotated.
        tasks: reason -> ids of the tasks that are left out for it, each once.
        several: how many tasks have more than one annotation that could count.
        rule: which of these counts, a key of RULES.
    """

    labeled: int
    tasks: dict[str, list[int]] = field(default_factory=dict)
    several: int = 0
    rule: str = "newest"

    def add(self, task: int, reason: str) -> None:
        """Leave a task out."""
        self.tasks.setdefault(reason, []).append(task)

    def __len__(self) -> int:
        return sum(map(len, self.tasks.values()))

    def __str__(self) -> str:
        """One line, "" where nothing is left out."""
        if not self.tasks:
            return ""
        by_number = sorted(self.tasks.items(), key=lambda entry: -len(entry[1]))
        said = [f"{len(tasks)} for {reason} ({_named(tasks)})" for reason, tasks in by_number]
        return f"{len(self)} of {self.labeled} annotated images are left out: {'; '.join(said)}"

    @property
    def remark(self) -> str:
        """The line of what is left out, and of several annotations; "" where there is neither."""
        more = "1 image has" if self.several == 1 else f"{self.several} images have"
        several = f"{more} several annotations: {RULES[self.rule]}" if self.several else ""
        return "; ".join(filter(None, (several, str(self))))

    def to_json(self) -> dict:
        """For `of_json`."""
        return asdict(self)

    @classmethod
    def of_json(cls, body: Mapping) -> LeftOut:
        """What `to_json` gave."""
        return cls(**body)


def _named(tasks: list[int]) -> str:
    more = f" and {len(tasks) - NAMED} more" if len(tasks) > NAMED else ""
    return f"task{'s' if len(tasks) > 1 else ''} {', '.join(map(str, tasks[:NAMED]))}{more}"
