"""An admin's day in a real browser, on the running product: a training that fails, one that is cancelled, one that goes
live; comparing versions, promoting, rolling back. With PAGES=<dir> it makes the pictures of the documents.

One project and one browser for all; the tests go on where the one before ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from backend.commands.local import LocalStack
from backend.project.published import Publication
from backend.project.serving import store_of
from model.data.dataset import in_holdout
from tests.e2e.conftest import TRAINING, Project, until

TITLE = "Road signs"
SECONDS = 240_000  # milliseconds that a cycle may take on a busy machine
SHAPES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 844}}
SERIOUS = {"serious", "critical"}
expect.set_options(timeout=30_000)


@dataclass
class Admin:
    """Who looks at the pages."""

    page: Page
    project: Project
    url: str
    said: list[str] = field(default_factory=list)

    def hears(self, message: ConsoleMessage) -> None:
        """What the console says. A small picture that comes too slowly is asked for again."""
        url = message.location["url"]
        if message.type in ("error", "warning") and "/thumbnail" not in url:
            self.said.append(f"{url}: {message.text}")

    def open(self, path: str = "") -> None:
        self.page.goto(f"{self.url}/ui/projects/{self.project.id}{path}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=re.compile(f"^{name}")).first.click()

    def picture(self, name: str) -> None:
        """For the documents, where somebody wants them."""
        if folder := os.environ.get("PAGES"):
            self.page.evaluate("document.activeElement.blur()")
            self.page.wait_for_load_state("networkidle")  # small pictures come after the page
            self.page.screenshot(path=Path(folder) / f"page-{name}.png", full_page=True)


@pytest.fixture(scope="module")
def admin(stack: LocalStack, make_project: Callable[..., Project], browser: Browser) -> Admin:
    project = make_project(TITLE, images=30)
    project.connect()
    project.wait("rank")
    password = {"username": TRAINING["BASIC_AUTH_USER"], "password": TRAINING["BASIC_AUTH_PASS"]}
    context = browser.new_context(http_credentials=password, viewport=SHAPES["wide"], color_scheme="light")  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(30_000)
    made = Admin(page, project, stack.backend_url)
    page.on("console", made.hears)
    page.on("pageerror", lambda error: made.said.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    return made


@pytest.fixture(autouse=True)
def _silent(admin: Admin) -> Iterator[None]:
    """A page has nothing to tell the console."""
    yield
    assert admin.said == []


def test_a_failed_training_says_what_to_do(admin: Admin) -> None:
    page = admin.page
    page.goto(f"{admin.url}/ui")
    card = page.locator(f"#project-{admin.project.id}")
    expect(card.get_by_role("heading")).to_contain_text(TITLE)
    expect(card).to_contain_text("of 30 tasks")
    card.get_by_role("button", name="Retrain").click()
    expect(page.get_by_role("status").first).to_have_text("The training is in the queue.")
    expect(page.get_by_text("Last: training failed")).to_be_visible(timeout=SECONDS)  # without loading the page again
    admin.open("/jobs")
    page.get_by_role("row", name=re.compile("failed")).get_by_role("link").click()
    expect(page.locator("#remedy")).to_contain_text("draw some with the labels")
    expect(page.get_by_label("Lines of the job")).to_contain_text("has no boxes to learn from")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    admin.picture("job")


def test_a_training_is_watched_and_cancelled(admin: Admin) -> None:
    tasks = admin.project.order()
    held = [task for task in tasks if in_holdout(task)][:3]
    for task in [*held, *[task for task in tasks if task not in held][: 12 - len(held)]]:
        admin.project.annotator.label(task)
    admin.open()
    admin.press("Retrain")
    expect(admin.page.locator(".state.started")).to_be_visible(timeout=SECONDS)
    admin.press("Cancel")
    expect(admin.page.get_by_role("status").first).to_contain_text("Cancelled")
    expect(admin.page.get_by_text("Last: training cancelled")).to_be_visible()
    until(20, lambda: admin.project.jobs.head(admin.project.id) is None, "the cycle to end")


def test_a_version_goes_live_is_compared_and_taken_back(admin: Admin) -> None:
    page, project = admin.page, admin.project
    before = project.live()
    admin.open()
    admin.press("Retrain")
    bar = page.get_by_role("progressbar")
    expect(bar).to_be_visible(timeout=SECONDS)
    expect(page.locator(".state.started")).to_be_visible(timeout=SECONDS)
    admin.picture("project")
    expect(page.get_by_text("Last: training finished")).to_be_visible(timeout=SECONDS)
    admin.open("/versions")
    newest = store_of(project.settings, project.id).list()[-1].name
    row = page.get_by_role("row", name=re.compile(newest))
    expect(row).to_contain_text("mAP")
    page.get_by_role("link", name="Compare two").click()
    expect(page.locator("#basis")).to_contain_text("held-out images")
    expect(page.get_by_role("row", name=re.compile("^mAP"))).to_contain_text(" to ", timeout=SECONDS)
    admin.picture("compare")
    admin.open("/versions")
    after = project.live()
    if after.version == before.version:  # it was no better, and an admin lets it serve all the same
        row.get_by_role("button", name="Promote").click()
        expect(page.get_by_role("status").first).not_to_be_empty(timeout=SECONDS)
        until(90, lambda: project.live().version == newest, "the promoted version to be ranked and live")
        after = project.live()
        admin.open("/versions")
    shown(project, after)
    admin.press("Roll back")
    expect(page.get_by_role("status").first).to_contain_text(f"shows {before.model_version}")
    shown(project, before)
    expect(page.get_by_role("row", name=re.compile(before.version))).to_contain_text("serving")
    row.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("status").first).to_contain_text(f"shows {after.model_version}")
    shown(project, after)
    admin.picture("versions")
    admin.open("/changes")
    expect(page.get_by_role("row", name=re.compile("roll back"))).to_contain_text(TRAINING["BASIC_AUTH_USER"])


def shown(project: Project, publication: Publication) -> None:
    """Label Studio shows its boxes, and serves tasks in its order."""
    assert project.info()["model_version"] == publication.model_version
    assert project.live().model_version == publication.model_version
    labeled = {task.id for task in project.studio.annotated(project.id)}
    first = next(task for task in project.order() if task not in labeled)
    assert project.annotator.label_next(project.id) == first  # a task that is only looked at would be served again


def test_every_page_can_be_used_by_everybody(admin: Admin) -> None:
    """axe-core finds nothing serious, in light and dark, wide and narrow; nothing reaches over the edge."""
    page = admin.page
    page.goto(f"{admin.url}/ui")
    admin.picture("overview")
    admin.open()
    tabs = [link.get_attribute("href") or "" for link in page.locator(".tabs a").all()]
    version = store_of(admin.project.settings, admin.project.id).list()[-1].name
    last = admin.project.jobs.last("train", admin.project.id)
    assert last is not None
    more = [f"{tabs[0]}/versions/{version}", f"{tabs[0]}/compare", f"{tabs[0]}/jobs/{last.id}"]
    named = {more[0]: "version"} | {
        path: name
        for path in tabs
        if (name := path.rpartition("/")[2]) in ("order", "corrections", "curve", "agent", "changes")
    }
    for path in ["/ui", *tabs, *more]:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(SHAPES["wide"])  # type: ignore[arg-type]
        page.goto(f"{admin.url}{path}")
        if path in named:
            admin.picture(named[path])
        for theme, shape in (("light", "wide"), ("dark", "narrow")):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.set_viewport_size(SHAPES[shape])  # type: ignore[arg-type]
            assert serious(page) == [], f"{path}, {theme} and {shape}"
            assert page.evaluate("document.documentElement.scrollWidth") <= SHAPES[shape]["width"], (path, shape)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds serious, and the first place of each."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS]


def test_the_description_of_the_api_is_drawn_without_another_server(admin: Admin) -> None:
    asked: list[str] = []
    admin.page.on("request", lambda request: asked.append(request.url))
    for theme in ("light", "dark"):
        admin.page.emulate_media(color_scheme=theme)
        admin.page.goto(f"{admin.url}/api/docs")
        expect(admin.page.get_by_text("/api/projects/{project}/promote")).to_be_visible()
        assert {name for name, _ in serious(admin.page)} <= {"nested-interactive"}  # Swagger UI's own links in buttons
    assert [url for url in asked if not url.startswith((admin.url, "data:"))] == []
