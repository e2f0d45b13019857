"""Pixels to boxes: detectors, data sets, the reported mAP, and model versions on disk.

Runs without Label Studio, Redis or a web server, so that it can be used in a notebook or on a GPU machine.
"""
