"""A publication that waits for Label Studio ends at once when it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.label_studio.client import Studio
from backend.project.publish import Publisher
from backend.project.published import Publication, Published
from model.progress import Interrupted
from model.versions import VersionStore
from tests.backend.installation import CONFIG
from tests.faults import Answer, FaultyProxy
from tests.studio import HeldProject, HeldStudio

NAME = "v0001-r001"
AN_HOUR = 3600.0


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultyProxy]:
    held = HeldProject(CONFIG, {1: tmp_path / "1.png"})
    with HeldStudio({1: held}) as studio, FaultyProxy(studio.url) as proxy:
        yield proxy


@pytest.mark.timeout(30)
def test_it_is_handed_back_while_it_waits_for_an_import_to_settle(proxy: FaultyProxy, tmp_path: Path) -> None:
    published = Published(tmp_path)
    published.predictions(NAME).put([(1, "1.png", 0.5, [])])
    proxy.next(1, "POST", "/import/predictions", Answer(504, late=True))
    store = VersionStore(tmp_path / "versions")
    publisher = Publisher(Studio(proxy.url, "0" * 40), 1, store, published, settle=AN_HOUR)
    said: list[str] = []

    def report(done: int, total: int, **figures: float) -> None:
        del done, total, figures
        if said:  # it waits
            raise Interrupted("the worker was told to stop")

    with pytest.raises(Interrupted):
        publisher.bring(Publication(NAME, "v0001", "entropy", 0), said.append, report)
    assert "waiting until Label Studio has stored" in said[-1]
