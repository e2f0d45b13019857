"""Everything that a project needs to be served, set once: running it again changes nothing."""

from __future__ import annotations

from backend.label_studio.client import ORDERED, Studio, StudioError
from backend.label_studio.labels import LabelConfig
from backend.project.published import Published
from backend.queue.enqueue import Jobs
from backend.settings import Settings

TITLE = "MGRAL"
TAB = "Label first"


def connect(studio: Studio, settings: Settings, project: int, backend_url: str, jobs: Jobs) -> list[str]:
    """Connect `project` to the backend at `backend_url` (as Label Studio sees it); returns what was changed.

    Raises LabelConfigError for a project without RectangleLabels, and StudioError where Label Studio refuses.
    """
    info = studio.project(project)
    LabelConfig.parse(info["label_config"])
    changed = []
    backend_url = backend_url.rstrip("/")
    changed += _backend(studio, settings, project, backend_url)
    changed += _webhook(studio, settings, project, backend_url)
    changed += _order(studio, settings, project)
    changed += _tab(studio, project)
    if Published(settings.model_dir / str(project)).current() is None:
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
        studio.call("PATCH", f"/api/ml/{mine['id']}", json=wanted)
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
    info = studio.project(project)
    live = Published(settings.model_dir / str(project)).current()
    wanted = {"sampling": ORDERED}
    if live is not None:
        wanted["model_version"] = live.model_version
    changes = {key: value for key, value in wanted.items() if info.get(key) != value}
    if changes:
        studio.call("PATCH", f"/api/projects/{project}/", json=changes)
    return [f"set {key} to {value!r}" for key, value in changes.items()]


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
