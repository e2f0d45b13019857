"""What to label next: the pool of unlabeled images, the strategies that rank it, and one cycle of active learning.

Knows images by their ids and detectors by the `Detector` interface; knows nothing of Label Studio or Redis.
"""
