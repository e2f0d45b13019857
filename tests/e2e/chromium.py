"""A real browser, and Label Studio's login."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from backend.commands.local import LocalStack

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launched() -> Iterator[Browser]:
    """Headless. Without Chromium the test is skipped, in continuous integration it fails."""
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None and os.environ.get("CI"):
        raise RuntimeError("no Chromium: apt-get install chromium")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def log_in(page: Page, stack: LocalStack) -> None:
    """At Label Studio, as its administrator."""
    page.goto(f"{stack.label_studio_url}/user/login")
    page.fill("input[name=email]", stack.username)
    page.fill("input[name=password]", stack.password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)
