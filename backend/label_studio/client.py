"""The Label Studio client: projects, tasks, annotations, predictions and their order.

Tokens of both kinds are handled by the SDK; requests are made directly, because `include=` and the model-versions
endpoint are not in it and its task models cost three times the listing itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import requests
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from backend.settings import Settings
from model.progress import Report, silent

log = logging.getLogger(__name__)

PAGE = 500
IMPORT_BATCH = 2000  # smaller batches are several times slower
CONNECT_SECONDS, READ_SECONDS = 5, 300
ORDERED = "Uncertainty sampling"  # serves tasks by ascending prediction score, in Community too


class StudioError(RuntimeError):
    """Label Studio refused; the message says what, and what to do."""


class StudioAway(StudioError):
    """Label Studio cannot be reached or is failing: worth trying again."""


@dataclass(frozen=True)
class Task:
    """A task: its id, its data, and its annotations where they were asked for."""

    id: int
    data: dict[str, Any]
    annotations: tuple[dict, ...] = ()


class Studio:
    """One Label Studio, reached as one user."""

    def __init__(self, url: str, api_key: str) -> None:
        if not api_key:
            raise StudioError(
                "LABEL_STUDIO_API_KEY is not set: create a token in Label Studio (Account & Settings) and set it"
            )
        self.url = url
        try:
            self._tokens = LabelStudio(base_url=url, api_key=api_key)._client_wrapper
        except ApiError as error:
            raise StudioError(f"LABEL_STUDIO_API_KEY is no valid token: {error.body}") from error
        self.session = requests.Session()
        patient = Retry(total=3, backoff_factor=0.5, status_forcelist=(502, 503, 504), allowed_methods={"GET"})
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=patient, pool_maxsize=16))

    @classmethod
    def from_settings(cls, settings: Settings) -> Studio:
        """The Label Studio that the settings name."""
        return cls(settings.label_studio_url, settings.label_studio_api_key)

    def authorization(self) -> dict[str, str]:
        """The header for Label Studio's own address; a personal access token is exchanged every five minutes."""
        try:
            return {"Authorization": self._tokens.get_headers()["Authorization"]}
        except ApiError as error:
            raise StudioError(f"the token is refused by {self.url}: {error.body}; create a new one") from error
        except Exception as error:  # the SDK's transport has its own exceptions for an unreachable host
            raise StudioAway(f"Label Studio at {self.url} does not answer: {error}") from error

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """One request; the decoded JSON answer. Raises StudioAway (try again) or StudioError (will not help)."""
        timeout = kwargs.pop("timeout", (CONNECT_SECONDS, READ_SECONDS))
        try:
            reply = self.session.request(
                method, self.url + path, headers=self.authorization(), timeout=timeout, **kwargs
            )
        except requests.RequestException as error:
            raise StudioAway(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}); is it up, and is "
                "LABEL_STUDIO_URL its address as seen from here?"
            ) from error
        if reply.status_code >= 500 or reply.status_code == 429:
            raise StudioAway(f"{method} {path}: Label Studio answered {reply.status_code}: {reply.text[:200]}")
        if reply.status_code == 401:
            raise StudioError(
                f"{self.url} refused the token (401): use a personal access token, or enable legacy tokens "
                "(LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true at its first start)"
            )
        if not reply.ok:
            raise StudioError(f"{method} {path}: Label Studio answered {reply.status_code}: {reply.text[:400]}")
        return reply.json() if reply.content else None

    # -- reading ------------------------------------------------------------------------------------------------------

    def project(self, project: int) -> dict:
        """The project with its label config and counters. Raises StudioError naming it when it does not exist."""
        try:
            return self.call("GET", f"/api/projects/{project}/")
        except StudioError as error:
            if " 404" in str(error):
                raise StudioError(f"there is no project {project} that this token may see at {self.url}") from error
            raise

    def tasks(self, project: int, **filters: Any) -> Iterator[Task]:
        """Every task's id and data, a page at a time."""
        for row in self._pages(project, include="id,data", **filters):
            yield Task(row["id"], row["data"])

    def annotated(self, project: int) -> Iterator[Task]:
        """Tasks that hold an annotation, with all of them (`include` would leave only their ids)."""
        some = {"filter": "filter:tasks:total_annotations", "operator": "greater", "type": "Number", "value": 0}
        for row in self._pages(project, fields="all", query=_query(some)):
            yield Task(row["id"], row["data"], tuple(row.get("annotations") or ()))

    def without_prediction(self, project: int, model_version: str) -> Iterator[Task]:
        """Tasks that hold no prediction of this model version."""
        rule = {
            "filter": "filter:tasks:predictions_model_versions",
            "operator": "not_contains",
            "type": "List",
            "value": model_version,
        }
        yield from self.tasks(project, query=_query(rule))

    def model_versions(self, project: int) -> dict[str, int]:
        """Model version -> number of predictions stored under it."""
        return self.call("GET", f"/api/projects/{project}/model-versions/")

    def _pages(self, project: int, **params: Any) -> Iterator[dict]:
        page = 1
        while True:
            answer = self.call(
                "GET", "/api/tasks", params={"project": project, "page": page, "page_size": PAGE, **params}
            )
            yield from answer["tasks"]
            if len(answer["tasks"]) < PAGE or page * PAGE >= answer["total"]:
                return
            page += 1

    # -- writing ------------------------------------------------------------------------------------------------------

    def import_predictions(
        self, project: int, predictions: Iterable[dict], total: int, report: Report = silent
    ) -> tuple[int, list[int]]:
        """Store predictions in bulk; returns (how many were stored, ids of tasks that are gone).

        Label Studio drops items it dislikes without a word, and refuses a whole batch for one deleted task: the count
        is checked, and a batch with deleted tasks is sent again without them.
        """
        items, stored, deleted = iter(predictions), 0, []
        while batch := list(islice(items, IMPORT_BATCH)):
            try:
                created = self._import(project, batch)
            except StudioAway:
                raise
            except StudioError as error:
                alive = self._existing(project)
                missing = [item["task"] for item in batch if item["task"] not in alive]
                if not missing:
                    raise
                log.info("%d tasks were deleted meanwhile: %s", len(missing), error)
                deleted += missing
                batch = [item for item in batch if item["task"] in alive]
                created = self._import(project, batch) if batch else 0
            if created != len(batch):
                raise StudioError(
                    f"Label Studio stored {created} of {len(batch)} predictions: a score outside [0, 1], or a label "
                    f"that is not in the config of project {project}; was the config changed meanwhile? Train again"
                )
            stored += created
            report(stored + len(deleted), total)
        return stored, deleted

    def delete_predictions(self, project: int, model_version: str) -> int:
        """Delete the predictions of one model version; returns how many there were. Slow: about 10,000 in a minute."""
        answer = self.call(
            "DELETE",
            f"/api/projects/{project}/model-versions/",
            json={"model_version": model_version},
            timeout=(CONNECT_SECONDS, 3600),
        )
        return int(answer.get("deleted_predictions", 0))

    def switch(self, project: int, model_version: str) -> None:
        """Show the boxes of this model version and serve tasks in its order: one request, so both change at once."""
        self.call("PATCH", f"/api/projects/{project}/", json={"model_version": model_version, "sampling": ORDERED})

    def _import(self, project: int, batch: list[dict]) -> int:
        return int(self.call("POST", f"/api/projects/{project}/import/predictions", json=batch)["created"])

    def _existing(self, project: int) -> set[int]:
        return {task.id for task in self.tasks(project)}


def _query(rule: dict[str, Any]) -> str:
    return json.dumps({"filters": {"conjunction": "and", "items": [rule]}})
