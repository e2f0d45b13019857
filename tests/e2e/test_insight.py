"""From the page of the order to the task in Label Studio, in a real browser: page, link and button agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from backend.commands.local import LocalStack
from tests.e2e.chromium import log_in
from tests.e2e.conftest import SHAPES, TRAINING, Project, until


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Project]) -> Project:
    made = make_project("Order", images=12, config=SHAPES)
    made.connect()
    made.wait("rank")
    return made


@pytest.fixture(scope="module")
def page(stack: LocalStack, browser: Browser) -> Page:
    """On a phone's screen, logged in at Label Studio, with the backend's password."""
    password = {"username": TRAINING["BASIC_AUTH_USER"], "password": TRAINING["BASIC_AUTH_PASS"]}
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        http_credentials=password | {"origin": stack.backend_url},  # type: ignore[arg-type]
    )
    page = context.new_page()
    log_in(page, stack)
    return page


def test_the_first_task_has_its_reason_its_picture_and_a_link_that_opens_it(
    stack: LocalStack, project: Project, page: Page
) -> None:
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        """Of our page: Label Studio's may still load. A small picture that comes too slowly is asked for again."""
        url = message.location["url"]
        if message.type == "error" and url.startswith(stack.backend_url) and "/thumbnail" not in url:
            errors.append(f"{url}: {message.text}")

    page.on("console", note)
    first = project.order()[0]
    page.goto(f"{stack.backend_url}/ui")
    page.locator(f"#project-{project.id}").get_by_role("link", name="which task is next, and why").click()
    card = page.locator(".gallery > li").first
    expect(card.get_by_role("link", name=f"Task {first}", exact=True)).to_be_visible()
    expect(card.locator(".reason")).to_contain_text("nothing is labeled yet")
    picture = card.locator("img")
    until(60, lambda: picture.evaluate("image => image.naturalWidth") > 0, "the picture of the first task")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    assert not errors
    page.set_viewport_size({"width": 1400, "height": 850})
    card.get_by_role("link", name=f"Open task {first} in Label Studio").click()
    page.wait_for_function(f"window.Htx?.task?.id == {first}", timeout=60_000)
    assert f"task={first}" in page.url


def test_label_all_tasks_gives_the_first_of_the_order(stack: LocalStack, project: Project, page: Page) -> None:
    first = project.order()[0]
    page.set_viewport_size({"width": 1400, "height": 850})
    page.goto(f"{stack.label_studio_url}/projects/{project.id}/data")
    page.get_by_role("button", name="Label All Tasks").click(timeout=60_000)
    page.wait_for_function(f"window.Htx?.task?.id == {first}", timeout=60_000)


def test_a_task_that_is_labeled_since_is_marked(stack: LocalStack, project: Project, page: Page) -> None:
    """The order is that of the last ranking; what of it is done by now is seen on its page."""
    first, second, *_ = project.order()
    project.annotator.label(first)
    page.goto(f"{stack.backend_url}/ui/projects/{project.id}/order")
    cards = page.locator(".gallery > li")
    expect(cards.filter(has_text=f"Task {first}").first).to_contain_text("labeled", timeout=30_000)
    marked = page.locator(".gallery > li .state.good")
    expect(marked).to_have_count(1)
    page.goto(f"{stack.backend_url}/ui/projects/{project.id}/order/{first}")
    expect(page.get_by_text("since the order was made")).to_be_visible()
    page.goto(f"{stack.backend_url}/ui/projects/{project.id}/order/{second}")
    expect(page.get_by_text("since the order was made")).to_have_count(0)
