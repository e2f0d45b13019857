"""The Label Studio client: projects, tasks, annotations, predictions and their order.

Tokens of both kinds are handled by the SDK; requests are made directly, because `include=` and the model-versions
endpoint are not in it and its task models cost three times the listing itself.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import requests
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError
from requests.adapters import HTTPAdapter

from backend.label_studio.addresses import Addresses, names
from backend.label_studio.deadline import Patient
from backend.settings import Settings
from model.data.undecodable import is_page, title
from model.progress import Report, silent

log = logging.getLogger(__name__)

PAGE = 500
LISTINGS = 3  # times in a row that a page may lack what its own `total` promises
IMPORT_BATCH = 10_000  # predictions: after each batch Label Studio counts those of all tasks of the project anew
IMPORT_BYTES = 40_000_000  # of a batch, about: Label Studio takes 250 MB by default, and holds several times as many
CONNECT_SECONDS, READ_SECONDS = 5, 300
TOKEN = "/api/token/refresh/"
AWAY = (429, 502, 503, 504)  # answers of a server that is overloaded or starting, whatever was asked
LATER = (408, 409, 425, 429)  # answers below 500 to what may be taken at another time
LONGEST_WAIT = 5  # seconds, of those that a server may ask for; more is left to the job, which is tried again later
ORDERED = "Uncertainty sampling"  # serves tasks by ascending prediction score, in Community too


class StudioError(RuntimeError):
    """Label Studio refused; the message says what, and what to do."""


class StudioAway(StudioError):
    """Label Studio cannot be reached or is failing: worth trying again."""


class _MissingError(StudioError):
    """What was asked for does not exist."""


class _TooLargeError(StudioError):
    """The request is larger than Label Studio, or a proxy before it, takes."""


def token_refused(url: str) -> StudioError:
    """The error for an answer 401."""
    return StudioError(
        f"{url} refused the token (401): use a personal access token, or enable legacy tokens "
        "(LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true at its first start)"
    )


@dataclass(frozen=True)
class Task:
    """A task: its id, its data, and its annotations where they were asked for."""

    id: int
    data: dict[str, Any]
    annotations: tuple[dict, ...] = ()


class Stored(NamedTuple):
    """A prediction that Label Studio holds: its id, its task's, its score, and how many regions it has."""

    id: int
    task: int
    score: float
    regions: int


class Studio:
    """One Label Studio, reached as one user."""

    def __init__(self, url: str, api_key: str, public: Iterable[str] = ()) -> None:
        """`url`: where it answers, seen from here; `public`: other addresses of it."""
        key = api_key.strip()
        if not key:
            raise StudioError(
                "LABEL_STUDIO_API_KEY is not set: create a token in Label Studio (Account & Settings) and set it"
            )
        if not re.fullmatch("[!-~]+", key):
            raise StudioError("LABEL_STUDIO_API_KEY holds blanks or letters that no token has; copy the token again")
        self.url, self._key = url.rstrip("/"), key
        self.addresses = Addresses(self.url, tuple(public))
        try:  # without the last / the SDK asks for access tokens at the root of the host
            self._tokens = LabelStudio(base_url=f"{self.url}/", api_key=key)._client_wrapper
        except ApiError as error:
            raise StudioError(f"LABEL_STUDIO_API_KEY is no valid token: {error.body}") from error
        self.session = requests.Session()
        patient = Patient(
            total=3,
            backoff_factor=0.5,
            status_forcelist=AWAY,
            allowed_methods={"GET"},
            raise_on_status=False,
            retry_after_max=LONGEST_WAIT,
        )
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=patient, pool_maxsize=16))

    @classmethod
    def from_settings(cls, settings: Settings) -> Studio:
        """The Label Studio that the settings name."""
        return cls(settings.label_studio_url, settings.label_studio_api_key, names(settings.label_studio_public_url))

    @classmethod
    def shared(cls, settings: Settings) -> Studio:
        """The same, made once in a process, for all of its threads: the SDK reads all certificates for each one, 60 ms
        of the processor, and each exchanges a personal access token anew."""
        return _shared(
            settings.label_studio_url, settings.label_studio_api_key, names(settings.label_studio_public_url)
        )

    def authorization(self) -> dict[str, str]:
        """The header for Label Studio's own address; a personal access token is exchanged every five minutes."""
        try:
            return {"Authorization": self._tokens.get_headers()["Authorization"]}
        except ApiError as error:
            if error.status_code in (400, 401, 403):
                raise StudioError(f"the token is refused by {self.url}: {error.body}; create a new one") from error
            raise self._failed("POST", TOKEN, error.status_code or 0, json.dumps(error.body).encode()) from error
        except ValueError:  # no JSON, which the SDK expects even of a proxy's 502
            raise self._no_token() from None
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
            if isinstance(error, ValueError):  # an address or a header that cannot be sent
                raise StudioError(f"LABEL_STUDIO_URL {self.url!r} cannot be asked: {error}") from error
            raise StudioAway(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}); is it up, and is "
                "LABEL_STUDIO_URL its address as seen from here?"
            ) from error
        if not reply.ok:
            raise self._failed(method, path, reply.status_code, reply.content)
        if not reply.content:
            return None
        try:
            return reply.json()
        except requests.JSONDecodeError as error:
            raise StudioError(f"{method} {path}: {self._no_json(reply.content)}") from error

    def _object(self, method: str, path: str, *keys: str, **kwargs: Any) -> dict[str, Any]:
        """`call`, where the answer is an object that has `keys`. One without a body was lost on its way: StudioAway."""
        if (answer := self.call(method, path, **kwargs)) is None:
            raise StudioAway(f"{method} {path}: Label Studio answered without a body")
        if not isinstance(answer, dict) or not all(key in answer for key in keys):
            said = json.dumps(answer)[:99]
            raise StudioError(f"{method} {path}: Label Studio answered {said}: no object {' '.join(keys)}")
        return answer

    def _failed(self, method: str, path: str, status: int, body: bytes) -> StudioError:
        """The error for an answer that is none of success."""
        page = is_page(body)
        said = f"a web page titled {title(body)!r}" if page else body[:400].decode("utf-8", "replace")
        if status >= 500 or status in LATER:
            return StudioAway(f"{method} {path}: Label Studio answered {status}: {said}")
        if status == 401 and not page:
            return token_refused(self.url)
        if status == 413:
            return _TooLargeError(f"{method} {path}: too large for {self.url} (413); nginx: raise client_max_body_size")
        if page:
            return StudioError(f"{method} {path}: {status}, {self._no_json(body)}")
        kind = _MissingError if status == 404 else StudioError
        return kind(f"{method} {path}: Label Studio answered {status}: {said}")

    def _no_token(self) -> StudioError:
        """The error where a personal access token was not exchanged, by asking once more and looking at the answer."""
        try:
            reply = self.session.post(self.url + TOKEN, json={"refresh": self._key}, timeout=CONNECT_SECONDS)
        except requests.RequestException as error:
            return StudioAway(f"Label Studio at {self.url} does not answer ({type(error).__name__})")
        if not reply.ok:
            return self._failed("POST", TOKEN, reply.status_code, reply.content)
        if is_page(reply.content) or not reply.content.lstrip().startswith(b"{"):
            return StudioError(f"POST {TOKEN}: {self._no_json(reply.content)}")
        return StudioAway(f"Label Studio at {self.url} did not exchange the token; trying again may help")

    def _no_json(self, body: bytes) -> str:
        """What is wrong where something other than Label Studio's API answered."""
        name = title(body)
        what = f"a web page{f' titled {name!r}' if name else ''}" if is_page(body) else f"no JSON but {body[:60]!r}"
        return (
            f"{self.url} answered with {what}: is LABEL_STUDIO_URL Label Studio's own address, with the path below "
            "which it is served, and no login or proxy before it?"
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def project(self, project: int) -> dict:
        """The project with its label config and counters. Raises StudioError naming it when it does not exist."""
        try:
            return self._object("GET", f"/api/projects/{project}/")
        except _MissingError as error:
            raise StudioError(f"there is no project {project} that this token may see at {self.url}") from error

    def tasks(self, project: int) -> Iterator[Task]:
        """Every task's id and data, by rising id, a page at a time."""
        for row in self._pages(project, include="id,data"):
            yield _task(row)

    def annotated(self, project: int) -> Iterator[Task]:
        """Tasks that hold an annotation, with all of them (`include` would leave only their ids). Not by the count that
        a task has, `total_annotations`: it misses what is submitted while the task's predictions are imported."""
        for row in self._pages(project, rule("annotations_ids", "greater", 0), fields="all"):
            yield _task(row)

    def without_prediction(self, project: int, model_version: str) -> Iterator[Task]:
        """Tasks that hold no prediction of this model version."""
        for row in self._pages(project, _unpredicted(model_version), include="id,data"):
            yield _task(row)

    def count_without_prediction(self, project: int, model_version: str) -> int:
        """How many tasks that are."""
        return int(self._page(project, [_unpredicted(model_version)], 1, include="id")["total"])

    def predictions(self, project: int, model_version: str) -> Iterator[Stored]:
        """The predictions of a model version, by their tasks' rising id; a task may hold two by mistake."""
        bearing = rule("predictions_model_versions", "contains", [model_version])
        for row in self._pages(project, bearing, fields="all", include="id,predictions"):
            for held in row["predictions"]:
                if held["model_version"] == model_version:  # the rule finds longer names too
                    score = -1.0 if held["score"] is None else held["score"]  # it is none of ours then
                    yield Stored(held["id"], row["id"], score, len(held["result"] or ()))

    def model_versions(self, project: int) -> dict[str, int]:
        """Model version -> number of predictions stored under it."""
        return self._object("GET", f"/api/projects/{project}/model-versions/")

    def _pages(self, project: int, *rules: dict[str, Any], **params: Any) -> Iterator[dict]:
        """Every row once, by rising id. A page is asked for as "ids greater than the last one", because numbered pages
        shift while people annotate; and its own `total` says whether it was the last, because a server may cap pages.

        Raises StudioAway where a page lacks what its `total` promises, several times in a row.
        """
        last, missed = 0, 0
        while True:
            answer = self._page(project, [*rules, rule("id", "greater", last)], PAGE, **params)
            before = last
            for row in answer["tasks"]:
                number = _id(row)
                if number > last:
                    last = number
                    yield row | {"id": number}
            if len(answer["tasks"]) >= int(answer["total"]):
                return
            missed = missed + 1 if last == before else 0
            if missed == LISTINGS:
                raise StudioAway(
                    f"project {project}: Label Studio says that {answer['total']} tasks follow task {last}, but lists "
                    f"none of them, {LISTINGS} times; try again later"
                )

    def _page(self, project: int, rules: list[dict[str, Any]], size: int, **params: Any) -> dict[str, Any]:
        """The first tasks by id that fit the rules, and under `total` how many do.

        Their data as they were imported, as /predict gets them: `resolve_uri` would put addresses of Label Studio's own
        in the place of those of cloud storage, some of them new ones at each listing.
        """
        query = json.dumps({"filters": {"conjunction": "and", "items": rules}})
        asked = {"project": project, "page": 1, "page_size": size, "query": query, "resolve_uri": "false"}
        return self._object("GET", "/api/tasks", "tasks", "total", params=asked | params)

    # -- writing ------------------------------------------------------------------------------------------------------

    def import_predictions(
        self, project: int, predictions: Iterable[dict], total: int, report: Report = silent
    ) -> tuple[int, list[int]]:
        """Store predictions in bulk; returns (how many were stored, ids of tasks that are gone).

        Label Studio drops items it dislikes without a word, and refuses a whole batch for one deleted task: the count
        is checked, and a batch with deleted tasks is sent again without them.
        """
        stored, deleted = 0, []
        for batch in _batches(predictions):
            created, gone = self._store(project, batch)
            stored += created
            deleted += gone
            report(stored + len(deleted), total)
        return stored, deleted

    def _store(self, project: int, batch: list[dict]) -> tuple[int, list[int]]:
        """`import_predictions` of one batch; in halves where a proxy takes no request of that size."""
        if not batch:
            return 0, []
        try:
            path = f"/api/projects/{project}/import/predictions"
            created = int(self._object("POST", path, "created", json=batch)["created"])
        except StudioAway:
            raise
        except _TooLargeError:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            parts = [self._store(project, part) for part in (batch[:half], batch[half:])]
            return sum(stored for stored, _ in parts), [task for _, gone in parts for task in gone]
        except StudioError as error:
            alive = {task.id for task in self.tasks(project)}
            missing = [item["task"] for item in batch if item["task"] not in alive]
            if not missing:
                raise
            log.info("%d tasks were deleted meanwhile: %s", len(missing), error)
            stored, gone = self._store(project, [item for item in batch if item["task"] in alive])
            return stored, missing + gone
        if created != len(batch):
            raise StudioError(
                f"Label Studio stored {created} of {len(batch)} predictions: a score outside [0, 1], or a label "
                f"that is not in the config of project {project}; was the config changed meanwhile? Train again"
            )
        return created, []

    def delete_predictions(self, project: int, model_version: str) -> int:
        """Delete the predictions of one model version; returns how many there were.

        Slow, 25 ms each, and done as a whole: a proxy may give up (StudioAway) while Label Studio goes on.
        """
        answer = self.call(
            "DELETE",
            f"/api/projects/{project}/model-versions/",
            json={"model_version": model_version},
            timeout=(CONNECT_SECONDS, 3600),
        )
        return int(answer.get("deleted_predictions", 0)) if isinstance(answer, dict) else 0

    def delete_prediction(self, prediction: int) -> None:
        """Delete one, by its own id; it may be gone already."""
        with suppress(_MissingError):
            self.call("DELETE", f"/api/predictions/{prediction}/")

    def switch(self, project: int, model_version: str) -> None:
        """Show the boxes of this model version and serve tasks in its order: one request, so both change at once."""
        self.call("PATCH", f"/api/projects/{project}/", json={"model_version": model_version, "sampling": ORDERED})


@lru_cache(maxsize=1)
def _shared(url: str, api_key: str, public: tuple[str, ...]) -> Studio:
    return Studio(url, api_key, public)


def _id(row: Any) -> int:
    """The number of a task of a list, which some servers write as a text."""
    try:
        return int(row["id"])
    except (KeyError, TypeError, ValueError):
        raise StudioError(f"Label Studio lists a task without a number: {json.dumps(row)[:100]}") from None


def _task(row: dict[str, Any]) -> Task:
    """A task of a list; where its data or annotations are of another shape, it has none."""
    data, annotations = row.get("data"), row.get("annotations")
    return Task(
        row["id"],
        data if isinstance(data, dict) else {},
        tuple(annotations) if isinstance(annotations, list) else (),
    )


def _batches(items: Iterable[dict]) -> Iterator[list[dict]]:
    """Items in lists of at most IMPORT_BATCH, and of about IMPORT_BYTES as JSON."""
    batch: list[dict] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(json.dumps(item))
        if len(batch) >= IMPORT_BATCH or size >= IMPORT_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _unpredicted(model_version: str) -> dict[str, Any]:
    return rule("predictions_model_versions", "not_contains", [model_version])


def rule(column: str, operator: str, value: float | list[str] | list[int]) -> dict[str, Any]:
    """A filter of the Data Manager. Of a text where it expects a list it would take every letter for a value."""
    kind = "List" if isinstance(value, list) else "Number"
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
