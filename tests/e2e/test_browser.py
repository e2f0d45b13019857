"""What people see in a real browser: the Data Manager with boxes and order, of which it makes the README's picture; the
editor, where boxes are corrected and suggestions accepted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.commands.local import LocalStack
from backend.label_studio.labels import LabelConfig
from backend.label_studio.lead_times import efforts
from backend.project.connect import TAB
from tests.e2e.chromium import log_in
from tests.e2e.conftest import SHAPES, Project, until

ROOT = Path(__file__).parents[2]
SMART = '<RectangleLabels smart="true" '


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Project]) -> Project:
    """With boxes, and tools that ask for more."""
    made = make_project("Road signs", images=24, config=SHAPES.replace("<RectangleLabels ", SMART))
    made.connect()
    made.wait("rank")
    return made


def test_the_data_manager_shows_boxes_and_order(stack: LocalStack, project: Project, browser: Browser) -> None:
    order = project.order()
    boxes = {p["task"]: [r["value"]["rectanglelabels"][0] for r in p["result"]] for p in project.predictions()}
    labels = {task: found[0] for task, found in boxes.items() if found}
    assert labels
    views = project.studio.call("GET", "/api/dm/views", params={"project": project.id})
    (tab,) = [view["id"] for view in views if view["data"]["title"] == TAB]
    first = next(task for task in order if task in labels)
    page = logged_in(browser, stack)
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
    assert target.stat().st_size > 20_000


def test_a_corrected_box_and_an_accepted_suggestion_are_both_kept(
    stack: LocalStack, project: Project, browser: Browser
) -> None:
    """The editor knows regions by their ids: a suggestion whose id the annotation has would replace what is there."""
    task, shown = next(
        (p["task"], box["value"])
        for p in project.predictions()
        for box in p["result"]
        if _drawn_alone(p["result"], box)
    )
    before = {box["id"]: box["value"] for p in project.predictions() if p["task"] == task for box in p["result"]}
    page = logged_in(browser, stack)
    page.goto(f"{stack.label_studio_url}/projects/{project.id}/data?task={task}")
    expect(page.locator("canvas").first).to_be_visible(timeout=30_000)
    page.wait_for_function(f"Htx.annotationStore.selected?.regions.length === {len(before)}")
    page.wait_for_load_state("networkidle")
    canvas = page.locator("canvas").first.bounding_box()
    assert canvas is not None

    def drag(x: float, y: float, to_x: float, to_y: float) -> None:
        """With the mouse, from one place of the image to another, in percent of it."""
        corners = [
            (canvas["x"] + canvas["width"] * across / 100, canvas["y"] + canvas["height"] * down / 100)
            for across, down in ((x, y), (to_x, to_y))
        ]
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1], steps=8)
        page.mouse.up()

    middle = shown["x"] + shown["width"] / 2, shown["y"] + shown["height"] / 2
    page.mouse.click(canvas["x"] + canvas["width"] * middle[0] / 100, canvas["y"] + canvas["height"] * middle[1] / 100)
    aside = 50 + (middle[0] - 50) / 2, 50 + (middle[1] - 50) / 2  # towards the middle of the image
    drag(*middle, *aside)
    page.keyboard.press("Escape")
    page.get_by_text("Auto-Annotation", exact=True).click()
    page.locator(".lsf-tool_smart").first.click()
    page.get_by_text(shown["rectanglelabels"][0], exact=True).last.click()
    drag(2, 2, 98, 97)
    page.wait_for_function("Htx.annotationStore.selected.suggestions.size > 0", timeout=30_000)
    offered = page.evaluate("[...Htx.annotationStore.selected.suggestions.values()].map(one => one.cleanId)")
    page.get_by_text(re.compile(r"\d+ suggestions?")).locator("xpath=..").get_by_role("button").last.click()
    page.wait_for_function("Htx.annotationStore.selected.suggestions.size === 0")
    page.get_by_label("Submit current annotation").click()
    until(30, lambda: bool(_annotations(project, task)), "the annotation to be submitted")
    (annotation,) = _annotations(project, task)
    kept = {region["id"]: region["value"] for region in annotation["result"]}
    assert not set(offered) & set(before)
    assert set(before) | set(offered) <= set(kept)
    moved = [
        name
        for name in before
        if abs(kept[name]["x"] - before[name]["x"]) + abs(kept[name]["y"] - before[name]["y"]) > 1
    ]
    assert len(moved) == 1  # and where it was put, not where it was suggested again
    assert {kept[name]["rectanglelabels"][0] for name in offered} == {shown["rectanglelabels"][0]}
    annotated = [one for one in project.studio.annotated(project.id) if one.id == task]
    (effort,) = efforts(annotated, LabelConfig.parse(SHAPES))  # the editor notes what its clock and its regions say
    assert 1 < effort.seconds < 400
    assert (effort.kept, effort.drawn) == (len(before), len(offered))  # what was asked for by hand counts as drawn


def logged_in(browser: Browser, stack: LocalStack) -> Page:
    page = browser.new_page(viewport={"width": 1500, "height": 850})
    log_in(page, stack)
    return page


def _annotations(project: Project, task: int) -> list[dict]:
    return project.studio.call("GET", f"/api/tasks/{task}/annotations/")


def _drawn_alone(result: list[dict], box: dict) -> bool:
    """Whether the middle of a box lies in no other, so that a click means it; and not in the middle of the image."""
    mine = box["value"]
    x, y = mine["x"] + mine["width"] / 2, mine["y"] + mine["height"] / 2
    others = [other["value"] for other in result if other is not box]
    inside = [one["x"] <= x <= one["x"] + one["width"] and one["y"] <= y <= one["y"] + one["height"] for one in others]
    return not any(inside) and abs(x - 50) + abs(y - 50) > 10


def numbers(text: str) -> list[int]:
    """The whole numbers of a table row, the task's id first."""
    return [int(word) for word in text.split() if word.isdigit()]
