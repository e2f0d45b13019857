"""Checks one project: its config, tasks, pictures and annotations, and whether Label Studio shows what is live."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from agent.costs import learn_costs
from backend.commands.findings import Finding, SickError, find
from backend.label_studio.agreement import agreed
from backend.label_studio.client import Studio, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, read
from backend.label_studio.lead_times import efforts
from backend.project.boxes.outdated import outdated
from backend.project.connect import unshown_labels, unused_weights
from backend.project.left_out import FILE as LEFT_OUT
from backend.project.left_out import LeftOut
from backend.project.serving import published_of, store_of
from backend.project.shown import compare
from backend.project.work import counting_of
from backend.settings import Settings
from model.data.images import ImageError
from model.versions import VersionError

MOST_TASKS = 10_000  # that are looked at; a list of more takes minutes
SAMPLE = 8  # pictures that are read
NAMED = 3
SIDE = 1000  # pixels, of a picture whose annotation does not say its size


@dataclass
class ProjectCheck:
    """The checks of one project."""

    settings: Settings
    project: int

    def few(self) -> Iterator[Finding]:
        """What takes no time, for all projects."""
        yield find(f"config of project {self.project}", self.config_is_served)
        yield find(f"project {self.project}", self.shows_what_is_live)

    def all(self) -> Iterator[Finding]:
        """Every check; one that fails does not stop the next."""
        yield find(f"config of project {self.project}", self.config_is_served)
        yield find(f"tasks of project {self.project}", self.tasks_name_images)
        yield find(f"pictures of project {self.project}", self.pictures_are_read)
        yield find(f"annotations of project {self.project}", self.annotations_are_understood)
        yield find(f"costs of project {self.project}", self.annotations_tell_their_costs)
        yield find(f"project {self.project}", self.shows_what_is_live)

    @cached_property
    def studio(self) -> Studio:
        """Label Studio."""
        return Studio.from_settings(self.settings)

    @cached_property
    def config(self) -> LabelConfig:
        """Raises LabelConfigError where it cannot be served."""
        return LabelConfig.parse(self.studio.project(self.project)["label_config"])

    @cached_property
    def tasks(self) -> list[Task]:
        """The project's, or the first ones of very many."""
        return list(islice(self.studio.tasks(self.project), MOST_TASKS))

    @cached_property
    def annotated(self) -> list[Task]:
        """The tasks that hold an annotation."""
        return list(self.studio.annotated(self.project))

    @cached_property
    def pictures(self) -> Pictures:
        """The images of tasks."""
        return Pictures(self.studio, self.settings.cache_dir, self.settings.cache_gb, Limits.of(self.settings))

    def config_is_served(self) -> str:
        """What of the label config is served, and what the newest training could not use."""
        store = store_of(self.settings, self.project)
        said = [f"labels {', '.join(self.config.labels)} on {self.config.to_name!r}", *self.config.remarks]
        said += [*unused_weights(store, self.config), *unshown_labels(store, self.config)]
        serving = store.serving()
        if serving is not None and not self.config.label_map(serving.names, trained=serving.parent is not None):
            said.append(self.config.no_match(serving.names))
        if trained := [version for version in store.list() if version.parent is not None]:
            newest = max(trained, key=lambda version: version.number)
            with suppress(VersionError):  # of an earlier release
                line = LeftOut.of_json(json.loads(store.read(newest.name, LEFT_OUT))).remark
                said += [f"of what {newest.name} was trained on: {line}"] if line else []
        return "; ".join(said)

    def tasks_name_images(self) -> str:
        """Whether each task has an address where the config looks for it."""
        faults = [fault for task in self.tasks if (fault := self._fault(task))]
        seen = f"{len(self.tasks)} tasks" if len(self.tasks) < MOST_TASKS else f"the first {MOST_TASKS} tasks"
        if faults:
            more = f", and {len(faults) - 1} like it" if len(faults) > 1 else ""
            raise SickError(f"{seen}, {len(faults)} of them without an image: {faults[0]}{more}")
        return f"{seen}, each with an address under {self.config.data_key!r}" if self.tasks else "there are none yet"

    def pictures_are_read(self) -> str:
        """Whether a few of them, from all over the project, can be fetched and decoded."""
        usable = [task for task in self.tasks if not self._fault(task)]
        sample = usable[:: max(1, len(usable) // SAMPLE)][:SAMPLE]
        failed: list[str] = []
        sizes = [picture.shape[1::-1] for _, picture in self.pictures.stream(sample, self.config.data_key, failed)]
        if failed:
            raise SickError(f"{len(failed)} of {len(sample)} cannot be read: {'; '.join(failed[:NAMED])}")
        if not sizes:
            return "none to look at"
        (w, h), (width, height) = min(sizes), max(sizes)
        return f"{len(sizes)} of {len(usable)} were read, {w} x {h} to {width} x {height} pixels"

    def annotations_are_understood(self) -> str:
        """Whether all that people drew can be learned from."""
        left_out, empty, boxes = LeftOut(0, rule=self.settings.several_annotations), 0, 0
        for task in self.annotated:
            counting, several = counting_of(task, self.settings.several_annotations)
            if not counting:
                continue
            left_out.labeled += 1
            left_out.several += several
            reading = agreed([read(one.get("result"), self.config, _size(one.get("result"))) for one in counting])
            boxes += len(reading.class_ids)
            empty += not len(reading.class_ids)
            if reading.problem is not None:
                left_out.add(task.id, reading.problem)
        if len(left_out):
            raise SickError(f"{left_out.remark}; open these in Label Studio and mend what is named")
        background = f", {empty} submitted empty and learned as background" if empty else ""
        more = f"; {left_out.remark}" if left_out.several else ""
        return f"{left_out.labeled} annotated images with {boxes} boxes{background}{more}"

    def annotations_tell_their_costs(self) -> str:
        """What an annotation costs, and what the order makes of it."""
        if self.settings.budget_in == "minutes":
            order = "the order saves minutes"
        else:
            order = "the order saves images (BUDGET_IN=minutes makes use of it)"
        return f"{learn_costs(efforts(self.annotated, self.config))}; {order}"

    def shows_what_is_live(self) -> str:
        """Whether Label Studio shows it, and whether it is what the config asks for."""
        published = published_of(self.settings, self.project)
        live = published.current()
        difference = compare(self.studio, self.project, published)
        if difference is not None:
            mends = difference.settings or difference.double
            remedies = [f"`mgral connect {self.project}` sets it right"] if mends else []
            if difference.missing:
                remedies.append("a running `mgral work` puts back what is missing")
            raise SickError(f"in Label Studio {difference}: {'; '.join(remedies)}")
        if live is None:
            return "nothing is live yet"
        if outdated(self.settings, self.project, self.config):
            raise SickError(
                f"shows {live.model_version}, but the label config or MODEL_SCORE_THRESHOLD asks for other boxes now: "
                f"a running `mgral work` ranks anew by itself, or run `mgral rank {self.project}`"
            )
        with suppress(VersionError):
            if remark := json.loads(store_of(self.settings, self.project).read(live.version, "ranking.json")).get(
                "remark"
            ):
                raise SickError(f"shows {live.model_version}; {remark}")
        return f"shows {live.model_version}"

    def _fault(self, task: Task) -> str | None:
        """What is wrong with a task's data."""
        try:
            self.pictures.reference(task, self.config.data_key)
        except ImageError as error:
            return str(error)
        return None


def _size(result: Any) -> tuple[int, int]:
    """What the regions of an annotation say of their picture's size."""
    for one in result if isinstance(result, list) else ():
        if isinstance(one, dict):
            size = one.get("original_width"), one.get("original_height")
            if all(isinstance(side, int) and 0 < side < 10**6 for side in size):
                return size  # type: ignore[return-value]
    return SIDE, SIDE
