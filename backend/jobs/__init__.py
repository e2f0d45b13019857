"""What the workers run, one file a job. RQ knows each by its name here, as in "backend.jobs.train"."""

from __future__ import annotations

from backend.jobs.cross_fitting import cross_fit
from backend.jobs.looking_back import hindsight
from backend.jobs.planning import plan
from backend.jobs.prediction import predict
from backend.jobs.publication import clean_up, publish
from backend.jobs.ranking import rank
from backend.jobs.reconciliation import reconcile
from backend.jobs.scanning import scan
from backend.jobs.surveying import survey
from backend.jobs.training import train
from backend.jobs.variants import variant

__all__ = [
    "clean_up",
    "cross_fit",
    "hindsight",
    "plan",
    "predict",
    "publish",
    "rank",
    "reconcile",
    "scan",
    "survey",
    "train",
    "variant",
]
