"""What an admin sees: the Data Manager with boxes and order, in a real browser. Writes the README's picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from backend.connect import TAB
from backend.local import LocalStack
from tests.e2e.conftest import Project

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


def test_the_data_manager_shows_the_order(
    stack: LocalStack, make_project: Callable[..., Project], chromium: str
) -> None:
    project = make_project("Road signs", images=24)
    project.connect()
    project.wait("rank")
    order = project.order()
    (view,) = [
        v
        for v in project.studio.call("GET", "/api/dm/views", params={"project": project.id})
        if v["data"]["title"] == TAB
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 800})
        page.goto(f"{stack.label_studio_url}/user/login")
        page.fill("input[name=email]", stack.username)
        page.fill("input[name=password]", stack.password)
        page.keyboard.press("Enter")
        page.wait_for_url("**/projects**")
        page.goto(f"{stack.label_studio_url}/projects/{project.id}/data?tab={view['id']}")
        expect(page.get_by_text(TAB).first).to_be_visible(timeout=30_000)
        ids = page.locator(".dm-table__row-wrapper, [class*=row-wrapper]")
        expect(ids.nth(5)).to_be_visible(timeout=30_000)
        rows = ids.all_inner_texts()
        page.wait_for_load_state("networkidle")
        target = Path(os.environ.get("SCREENSHOT", stack.directory / "data-manager.png"))
        page.screenshot(path=str(target))
        browser.close()
    shown = [
        next(int(word) for word in row.split() if word.isdigit())
        for row in rows
        if any(w.isdigit() for w in row.split())
    ]
    assert shown[:5] == order[:5]
    assert target.stat().st_size > 20_000
