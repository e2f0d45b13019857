"""The jobs that a worker runs. Each is safe to run again after a crash.

Redis knows them by these names, `backend.jobs.train` and so on: they are a contract between versions.
"""

from backend.jobs.prediction import predict
from backend.jobs.ranking import rank
from backend.jobs.reconciliation import reconcile
from backend.jobs.training import train
from backend.jobs.variants import variant

__all__ = ["predict", "rank", "reconcile", "train", "variant"]
