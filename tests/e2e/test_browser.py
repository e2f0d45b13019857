"""What an admin sees: the Data Manager with boxes and order, in a real browser. Writes the README's picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from backend.commands.local import LocalStack
from backend.project.connect import TAB
from tests.e2e.conftest import SHAPES, Project

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        raise RuntimeError("no Chromium: apt-get install chromium")
    return found or pytest.skip("no Chromium: apt-get install chromium")


def test_the_data_manager_shows_boxes_and_order(
    stack: LocalStack, make_project: Callable[..., Project], chromium: str
) -> None:
    project = make_project("Road signs", images=24, config=SHAPES)
    project.connect()
    project.wait("rank")
    order = project.order()
    boxes = {p["task"]: [r["value"]["rectanglelabels"][0] for r in p["result"]] for p in project.predictions()}
    labels = {task: found[0] for task, found in boxes.items() if found}
    assert labels
    views = project.studio.call("GET", "/api/dm/views", params={"project": project.id})
    (tab,) = [view["id"] for view in views if view["data"]["title"] == TAB]
    first = next(task for task in order if task in labels)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 850})
        page.goto(f"{stack.label_studio_url}/user/login")
        page.fill("input[name=email]", stack.username)
        page.fill("input[name=password]", stack.password)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(f"{stack.label_studio_url}/projects/{project.id}/data?tab={tab}")
        rows = page.locator(".dm-table__row-wrapper, [class*=row-wrapper]")
        expect(page.get_by_text(TAB).first).to_be_visible(timeout=30_000)
        expect(rows.nth(len(order) // 3)).to_be_visible(timeout=30_000)
        page.screenshot(path=str(stack.directory / "list.png"))
        shown = [numbers(text) for text in rows.all_inner_texts()]
        listed = [row[0] for row in shown if row]
        assert listed[:5] == order[:5]
        page.goto(f"{stack.label_studio_url}/projects/{project.id}/data?tab={tab}&task={first}")
        expect(page.locator("canvas").first).to_be_visible(timeout=30_000)
        label = labels[first]
        expect(page.get_by_text(label, exact=True)).to_have_count(boxes[first].count(label) + 1, timeout=30_000)
        page.wait_for_load_state("networkidle")
        target = Path(os.environ.get("SCREENSHOT", stack.directory / "data-manager.png"))
        page.screenshot(path=str(target))
        browser.close()
    assert target.stat().st_size > 20_000


def numbers(text: str) -> list[int]:
    """The whole numbers of a table row, the task's id first."""
    return [int(word) for word in text.split() if word.isdigit()]
