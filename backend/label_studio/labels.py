"""Between a project's label config and a detector: which tags, which labels, boxes to regions and back.

The door: `config.py` and `tags.py` read the config, `regions.py` writes and reads regions, whose shapes are in
`shapes.py`.
"""

from backend.label_studio.config import LabelConfig
from backend.label_studio.regions import Reading, boxes, read, region, regions, renewed
from backend.label_studio.tags import LabelConfigError

__all__ = ["LabelConfig", "LabelConfigError", "Reading", "boxes", "read", "region", "regions", "renewed"]
