"""Everything that a project needs to be served, set once: running it again changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

from backend.label_studio.client import ORDERED, Studio, StudioError
from backend.label_studio.labels import LabelConfig
from backend.project.serving import published_of, store_of
from backend.project.shown import mend
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from model.versions import VersionStore

log = logging.getLogger(__name__)

TITLE = "MGRAL"
TAB = "Label first"


def connect(studio: Studio, settings: Settings, project: int, backend_url: str, jobs: Jobs) -> list[str]:
    """Connect `project` to the backend at `backend_url` (as Label Studio sees it); returns what was changed.

    What its label config has and is not served is told to the log. Raises LabelConfigError for a config that cannot be
    served, and StudioError where Label Studio refuses.
    """
    info = studio.project(project)
    config = LabelConfig.parse(info["label_config"])
    store = store_of(settings, project)
    for line in [*config.remarks, *unused_weights(store, config), *unshown_labels(store, config)]:
        log.warning("project %d: %s", project, line)
    changed = []
    backend_url = backend_url.rstrip("/")
    changed += _backend(studio, settings, project, backend_url)
    changed += _webhook(studio, settings, project, backend_url)
    with jobs.exclusive(project):  # not between the two steps of a publication
        changed += _order(studio, settings, project)
    changed += _tab(studio, project)
    if published_of(settings, project).current() is None:
        job, _ = jobs.enqueue("rank", project)  # adding the backend has asked for it already
        changed.append(f"a first ranking is being made (job {job.id})")
    return changed


def warnings(info: dict) -> list[str]:
    """What in a project's settings disturbs the order."""
    out = []
    if info.get("maximum_annotations", 1) > 1:
        out.append(
            f"{info['maximum_annotations']} annotations are asked of each task: only the first annotator of a task "
            "gets it in order"
        )
    return out


def unused_weights(store: VersionStore, config: LabelConfig) -> list[str]:
    """A line where the config names weights that the project, which has a version already, did not start from."""
    first = store.untrained()
    started = "starts from "
    if config.model_path is None or first is None or not first.note.startswith(started):
        return []
    from_file = first.note.removeprefix(started).partition(";")[0]
    if from_file == Path(config.model_path).name:
        return []
    line = f"model_path {config.model_path!r} is not used: the project started from {from_file}"
    return [f"{line}; weights are chosen once, before the first ranking (a new project takes them)"]


def unshown_labels(store: VersionStore, config: LabelConfig) -> list[str]:
    """A line where the model that serves was trained on labels that the config does not have any more."""
    serving = store.serving()
    if serving is None or serving.parent is None:
        return []
    known = config.label_map(serving.names, trained=True)
    gone = [name for name in serving.names if name not in known]
    if not gone:
        return []
    line = f"boxes of {', '.join(map(repr, gone))} are not shown: {serving.name} was trained on these labels, which the"
    remedy = f"where one was renamed, put predicted_values={gone[0]!r} on the <Label> that replaces it"
    return [f"{line} config does not have; {remedy}"]


def _backend(studio: Studio, settings: Settings, project: int, url: str) -> list[str]:
    wanted = {"url": url, "project": project, "title": TITLE, "is_interactive": True}
    if settings.basic_auth_user:
        wanted |= {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": settings.basic_auth_user,
            "basic_auth_pass": settings.basic_auth_pass,
        }
    held = studio.call("GET", "/api/ml", params={"project": project})
    mine = next((backend for backend in held if backend["url"].rstrip("/") == url), None)
    try:
        if mine is None:
            studio.call("POST", "/api/ml", json=wanted)
            return [f"added the backend {url}"]
        same = (
            mine["is_interactive"]
            and mine.get("basic_auth_user") in (None, "", settings.basic_auth_user)
            and (mine.get("auth_method") == "BASIC_AUTH") == bool(settings.basic_auth_user)
            and mine.get("state") == "CO"
        )
        if same:
            return []
        kept = {"title": mine["title"] or TITLE}  # people name it, and `mgral serve` says there what it is doing
        studio.call("PATCH", f"/api/ml/{mine['id']}", json=wanted | kept)
        return [f"updated the backend {url}"]
    except StudioError as error:
        text = str(error)
        if "403" in text or "ban" in text.lower() or "private" in text.lower():
            text += (
                "; Label Studio blocks private addresses: start it with USE_DEFAULT_BANNED_SUBNETS=false and "
                "USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16"
            )
        raise StudioError(f"the backend {url} was not accepted: {text}") from error


def _webhook(studio: Studio, settings: Settings, project: int, url: str) -> list[str]:
    """Label Studio makes a webhook with the backend, but sends no password through it: the header does."""
    held = studio.call("GET", "/api/webhooks/", params={"project": project})
    address = f"{url}/webhook"
    mine = next((hook for hook in held if hook["url"] == address), None)
    headers = settings.authorization
    if mine is None:
        studio.call(
            "POST",
            "/api/webhooks/",
            json={"url": address, "project": project, "headers": headers, "send_for_all_actions": True},
        )
        return [f"added the webhook {address}"]
    if (mine.get("headers") or {}) == headers and mine.get("is_active", True):
        return []
    studio.call("PATCH", f"/api/webhooks/{mine['id']}/", json={"headers": headers, "is_active": True})
    return ["put the authorization header on the webhook" if headers else "updated the webhook"]


def _order(studio: Studio, settings: Settings, project: int) -> list[str]:
    """`sampling` serves the order, of the predictions that `model_version` names: connecting set it to a title."""
    published = published_of(settings, project)
    if published.current() is not None:
        line = mend(studio, project, published)
        return [line] if line else []
    if studio.project(project)["sampling"] == ORDERED:
        return []
    studio.call("PATCH", f"/api/projects/{project}/", json={"sampling": ORDERED})
    return [f"set sampling to {ORDERED!r}"]


def _tab(studio: Studio, project: int) -> list[str]:
    """A Data Manager tab that shows the order. For looking: tasks are served in order by "Label All Tasks"."""
    views = studio.call("GET", "/api/dm/views", params={"project": project})
    if any(view["data"].get("title") == TAB for view in views):
        return []
    columns = studio.call("GET", "/api/dm/columns", params={"project": project})["columns"]
    shown = {"image", "id", "predictions_score", "predictions_model_versions", "total_annotations"}
    hidden = [f"tasks:{c['id']}" for c in columns if c["id"] not in shown and not c.get("parent")]
    data = {
        "title": TAB,
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "hiddenColumns": {"explore": hidden, "labeling": []},
        "columnsDisplayType": {},
        "columnsWidth": {},
        "gridWidth": 4,
        "semantic_search": [],
        "filters": {"conjunction": "and", "items": []},
    }
    if not views:  # the first view saved replaces the default tab
        studio.call("POST", "/api/dm/views", json={"project": project, "data": {"title": "Default"}})
    studio.call("POST", "/api/dm/views", json={"project": project, "data": data})
    return [f"added the Data Manager tab {TAB!r}"]
