"""What to label next: the pool of unlabeled images, the strategies that rank it, and one cycle of active learning.

Knows images by their ids and detectors by the `Detector` interface; knows nothing of Label Studio or Redis.
"""

import os

# numba tells OpenMP how many threads there are when it starts its own, and that is then torch's number too, whatever
# OMP_NUM_THREADS said: two processes of one thread each became two of two, and waited for each other
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
