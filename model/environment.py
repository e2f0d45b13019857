"""What ultralytics is told by its environment. Import this before ultralytics, which reads it once."""

from __future__ import annotations

import os

os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # never install packages behind an operator's back
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"  # training builds from the checkpoint's own layer list: never eval it
