"""What each training gave: kept, read again, and what of it is evidence."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

from agent.holdout import FEWEST_IMAGES
from agent.strategies.past import Past
from backend.project.review.cycles import Batch, Trained, keep, past_of, trainings
from model.artefacts import Artefacts
from model.versions import VersionStore

BATCH = Batch("mgral", (0.02, 0.004), 20, 18, 3, 0.011)
TRAINED = Trained("v0002", "v0001", "2026-11-20T10:00:00", 40, 90, 0.4, 0.05, 20, (0.01, 0.03), True, 12.0, BATCH)


def test_what_is_kept_is_read_again_and_an_older_file_too(tmp_path: Path) -> None:
    files = Artefacts(str(tmp_path), tmp_path)
    keep(files, 3, TRAINED)
    store = VersionStore(tmp_path / "3" / "versions")
    assert trainings(files, 3, store) == [TRAINED]
    older = asdict(TRAINED)
    del older["batch"]["random"]  # of a release that did not keep it
    assert Trained.of_json(older).batch == replace(BATCH, random=None)


def test_only_a_batch_that_was_mostly_labeled_and_alone_is_evidence() -> None:
    assert past_of([TRAINED]) == (Past("mgral", 0.01, 0.03, 0.011),)
    for batch in (
        None,
        replace(BATCH, random=None),
        replace(BATCH, labeled=9),  # of twenty
        replace(BATCH, others=19),  # more than of the batch
    ):
        assert past_of([replace(TRAINED, batch=batch)]) == ()
    for gain in (None, (0.01, 0.0), (0.01, math.nan)):  # nothing held out; one image held out; no box in resamples
        assert past_of([replace(TRAINED, gain=gain)]) == ()
    assert past_of([replace(TRAINED, held_out=FEWEST_IMAGES - 1)]) == ()
