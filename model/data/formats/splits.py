"""The words that people use for the sides of a data set."""

from __future__ import annotations

import re

WORDS = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "minival": "val",
    "valminusminival": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
    "testdev": "test",
}
LONGEST = 40  # letters of a word that names a side
NONE = {"", "default", "all", "none"}


def side(word: str | None) -> str | None:
    """ "train", "val" or "test" for a word in any case, with a year or not; None for words that say nothing.

        >>> side("Validation"), side("train2017"), side("default")
        ('val', 'train', None)

    Raises:
        ValueError: the word is not known.
    """
    bare = _bare(word or "")
    if bare in NONE:
        return None
    if bare not in WORDS:
        raise ValueError(f"the split {word!r} is not known; call it train, val or test")
    return WORDS[bare]


def is_side(word: str) -> bool:
    """Whether a word names one of the sides."""
    return _bare(word) in WORDS


def _bare(word: str) -> str:
    """Without what surrounds the word: "Train2017", "val_set", "obj_train_data" (CVAT), "test-dev"."""
    bare = re.sub(r"[\s_.-]", "", word.lower())
    bare = re.sub(r"^obj(.*)data$", r"\1", bare)
    return re.sub(r"(\d|set|images|data)*$", "", bare) if len(bare) <= LONGEST else bare
