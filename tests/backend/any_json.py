"""Whatever JSON can say, and right values with one thing in them replaced by it."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

KEYS = (
    st.sampled_from(["id", "type", "value", "from_name", "to_name", "x", "y", "width", "height"])
    | st.sampled_from(
        ["rotation", "rectanglelabels", "points", "labels", "rle", "item_index", "original_width", "image", "data"]
    )
    | st.sampled_from(["project", "result", "action", "tasks"])
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 10**400, 1e308, -1e308, 5e-324])
    | st.floats()
    | st.sampled_from(
        ["", " ", "1", "-1", "nan", "1e999", "21.1", "9" * 5000, "\x00", "\ud800", "label", "image", "Car"]
    )
    | st.text(st.characters(exclude_characters="/:"), max_size=8)  # no address that is asked
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=5)
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where everything in a value lies, itself included."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, inner in entries for path in paths(inner, (*here, key)))]


@st.composite
def spoilt(draw: st.DrawFn, right: Any) -> Any:
    """A right value in which something, or all of it, is replaced by anything, or gone."""
    body = {"": copy.deepcopy(right)}
    for _ in range(draw(st.integers(1, 3))):
        path = ("", *draw(st.sampled_from(paths(body[""]))))
        place: Any = body
        for key in path[:-1]:
            place = place[key]
        if len(path) > 1 and draw(st.booleans()):
            del place[path[-1]]
        else:
            place[path[-1]] = draw(ANY)
    return body[""]
