"""Building a match table: COCO matching, once, and the layout that queries read."""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.match.layout import EVERY, THRESHOLDS, TIE_FIRST, TIE_NEXT, Layout
from agent.match.lookup import make_index
from agent.match.parse import Parsed

IOU = np.minimum(np.linspace(0.5, 0.95, THRESHOLDS), 1 - 1e-10)  # as pycocotools compares
LOW, HIGH = 0.0, 1e10  # pycocotools' area range "all": what lies outside is ignored


def make_layout(parsed: Parsed, max_dets: int) -> Layout:
    """Match all detections, at most `max_dets` an image and category, and keep what queries need."""
    truth, boxes = parsed.truth, parsed.detections
    images, categories = len(parsed.image_ids), len(parsed.category_ids)
    # Equal scores stay in the order of (sorted) image, then of the results list: sorts are stable throughout.
    by_image = np.argsort(boxes.image, kind="stable")
    order = by_image[np.argsort(-boxes.value[by_image], kind="stable")]
    class_start, order = _group(boxes.category, order, categories)
    image_start, image_order = _group(boxes.image, order, images)
    ignore = truth.crowd | (truth.value < LOW) | (truth.value > HIGH)
    _, truth_order = _group(truth.category, np.argsort(ignore, kind="stable"), categories)
    truth_start, truth_order = _group(truth.image, truth_order, images)
    true, ignored = _match(
        image_start, image_order, boxes.category, boxes.xywh, truth_start, truth_order, truth.category, truth.xywh,
        truth.crowd, ignore, max_dets,
    )  # fmt: skip
    *arrays, number, marked = _lay_out(
        order, class_start, boxes.image, true, ignored, truth_start, truth_order, truth.category, ignore
    )
    _, _, marked_start, _, true_bits, ignored_bits = arrays
    ties = _find_ties(order, class_start, boxes.image, boxes.value, ignored, number, marked, true_bits)
    ignored_rows = np.flatnonzero(ignored_bits)
    ids = parsed.image_ids
    return Layout._make([ids, make_index(ids), *arrays, ignored_rows.searchsorted(marked_start), ignored_rows, *ties])


@njit(cache=True, nogil=True)
def _group(keys: np.ndarray, order: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Counting sort: (start of each of `size` keys, `order` sorted by key and otherwise kept)."""
    start = np.zeros(size + 1, np.int64)
    for k in keys:
        start[k + 1] += 1
    for k in range(size):
        start[k + 1] += start[k]
    at = start[:-1].copy()
    out = np.empty(len(order), np.int64)
    for row in order:
        k = keys[row]
        out[at[k]] = row
        at[k] += 1
    return start, out


@njit(cache=True, nogil=True)
def _match(
    det_start: np.ndarray,
    det_order: np.ndarray,
    det_class: np.ndarray,
    det_box: np.ndarray,
    gt_start: np.ndarray,
    gt_order: np.ndarray,
    gt_class: np.ndarray,
    gt_box: np.ndarray,
    gt_crowd: np.ndarray,
    gt_ignore: np.ndarray,
    max_dets: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy COCO matching of every image and class (Lin et al. 2014; pycocotools' evaluateImg).

    `det_order` lists the detections of each image by class and falling score, `gt_order` the ground truth of each image
    by class with the ignored ones last. Returns (true positive bits, ignored bits) a detection; a detection beyond
    `max_dets` of its image and class is ignored everywhere.
    """
    true = np.zeros(len(det_class), np.uint16)
    ignored = np.zeros(len(det_class), np.uint16)
    longest = 0
    for i in range(len(gt_start) - 1):
        longest = max(longest, gt_start[i + 1] - gt_start[i])
    matches = np.zeros(longest, np.uint16)  # thresholds at which a ground truth has its detection
    near = np.empty(longest, np.int64)
    overlap = np.empty(longest, np.float64)
    for i in range(len(det_start) - 1):
        a, g0, g1 = det_start[i], gt_start[i], gt_start[i]
        stop, gt_stop = det_start[i + 1], gt_start[i + 1]
        while a < stop:
            c = det_class[det_order[a]]
            b = a
            while b < stop and det_class[det_order[b]] == c:
                b += 1
            while g1 < gt_stop and gt_class[gt_order[g1]] < c:
                g1 += 1
            g0 = g1
            while g1 < gt_stop and gt_class[gt_order[g1]] == c:
                matches[g1 - g0] = 0
                g1 += 1
            for p in range(a, b):
                d = det_order[p]
                if p - a >= max_dets:
                    ignored[d] = EVERY
                    continue
                x, y, w, h = det_box[d, 0], det_box[d, 1], det_box[d, 2], det_box[d, 3]
                area = w * h
                count = 0
                for g in range(g0, g1):
                    k = gt_order[g]
                    gx, gy = gt_box[k, 0], gt_box[k, 1]
                    gw, gh = gt_box[k, 2], gt_box[k, 3]
                    across = min(w + x, gw + gx) - max(x, gx)
                    if across <= 0:
                        continue
                    down = min(h + y, gh + gy) - max(y, gy)
                    if down <= 0:
                        continue
                    both = across * down
                    # A crowd region is larger than any of its objects: the union is the detection alone.
                    iou = both / (area if gt_crowd[k] else area + gw * gh - both)
                    if iou >= IOU[0]:
                        near[count] = g
                        overlap[count] = iou
                        count += 1
                for t in range(THRESHOLDS if count else 0):
                    best, m = IOU[t], -1
                    for n in range(count):
                        g = near[n]
                        k = gt_order[g]
                        if (matches[g - g0] >> t) & 1 and not gt_crowd[k]:
                            continue
                        if m > -1 and not gt_ignore[gt_order[m]] and gt_ignore[k]:
                            break
                        if overlap[n] < best:
                            continue
                        best, m = overlap[n], g
                    if m == -1:
                        continue
                    matches[m - g0] |= 1 << t
                    if gt_ignore[gt_order[m]]:
                        ignored[d] |= 1 << t
                    else:
                        true[d] |= 1 << t
                if area < LOW or area > HIGH:
                    ignored[d] |= EVERY & ~true[d]
            a = b
    return true, ignored


@njit(cache=True, nogil=True)
def _lay_out(
    order: np.ndarray,
    class_start: np.ndarray,
    image: np.ndarray,
    true: np.ndarray,
    ignored: np.ndarray,
    gt_start: np.ndarray,
    gt_order: np.ndarray,
    gt_class: np.ndarray,
    gt_ignore: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Number the marked rows, and hang every other row on the next marked one of its class.

    `order` lists the detections by class, falling score, image and rank in the image. What follows the last marked row
    of its class changes no figure and is dropped, as are rows ignored at every threshold. Returns `row_start`, `rows`,
    `class_start`, `mark_image`, `true_bits` and `ignored_bits` of `Layout`, then by place in `order` each row's number
    (-1 if dropped) and whether it is marked.
    """
    n_classes, n_images = len(class_start) - 1, len(gt_start) - 1
    marked_start = np.zeros(n_classes + 1, np.int64)
    number = np.full(len(order), -1, np.int64)
    marked = np.zeros(len(order), np.bool_)
    per_image = np.zeros(n_images + 1, np.int64)
    for i in range(n_images):
        for p in range(gt_start[i], gt_start[i + 1]):
            per_image[i + 1] += not gt_ignore[gt_order[p]]
    v = 0
    for c in range(n_classes):
        last = class_start[c] - 1
        for p in range(class_start[c], class_start[c + 1]):
            d = order[p]
            if ignored[d] != EVERY and (true[d] | ignored[d]) != 0:
                last = p
        for p in range(class_start[c], last + 1):
            d = order[p]
            if ignored[d] == EVERY:
                continue
            number[p] = v
            per_image[image[d] + 1] += 1
            if (true[d] | ignored[d]) != 0:
                marked[p] = True
                v += 1
        marked_start[c + 1] = v
    row_start = np.cumsum(per_image)
    rows = np.empty(row_start[-1], np.uint32)
    mark_image = np.empty(v, np.uint32)
    true_bits, ignored_bits = np.empty(v, np.uint16), np.empty(v, np.uint16)
    at = row_start[:-1].copy()
    for p in range(len(order)):
        if number[p] < 0:
            continue
        d = order[p]
        i = image[d]
        rows[at[i]] = number[p]
        at[i] += 1
        if marked[p]:
            mark_image[number[p]], true_bits[number[p]], ignored_bits[number[p]] = i, true[d], ignored[d]
    for i in range(n_images):
        for p in range(gt_start[i], gt_start[i + 1]):
            if not gt_ignore[gt_order[p]]:
                rows[at[i]] = v + gt_class[gt_order[p]]
                at[i] += 1
    return row_start, rows, marked_start, mark_image, true_bits, ignored_bits, number, marked


@njit(cache=True, nogil=True)
def _find_ties(
    order: np.ndarray,
    class_start: np.ndarray,
    image: np.ndarray,
    score: np.ndarray,
    ignored: np.ndarray,
    number: np.ndarray,
    marked: np.ndarray,
    true_bits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find equal scores within one image and class, which matter to weights.

    An image of weight w stands for w copies, each following the last as a whole: rows a, b of one score come as
    a b a b, not as a a b b. Flags the marked rows concerned in `true_bits`; returns the `tie_` arrays of `Layout`.
    """
    first, size, start, place = [np.uint32(0)][:0], [np.int32(0)][:0], [np.int32(0)], [np.int32(0)][:0]
    for c in range(len(class_start) - 1):
        p, stop = class_start[c], class_start[c + 1]
        while p < stop:
            d = order[p]
            q = p + 1
            while q < stop and score[order[q]] == score[d] and image[order[q]] == image[d]:
                q += 1
            if q - p > 1:
                length, start_of_tie = 0, len(place)
                for r in range(p, q):
                    if ignored[order[r]] == EVERY:
                        continue
                    if marked[r]:
                        place.append(np.int32(length))
                        true_bits[number[r]] |= TIE_NEXT if len(place) > start_of_tie + 1 else TIE_FIRST
                        if len(place) == start_of_tie + 1:
                            first.append(np.uint32(number[r]))
                    length += 1
                if len(place) > start_of_tie:
                    if length > 1:
                        size.append(np.int32(length))
                        start.append(np.int32(len(place)))
                    else:  # its partners do not count: no tie after all
                        true_bits[first.pop()] &= EVERY
                        place.pop()
            p = q
    return np.array(first), np.array(size), np.array(start), np.array(place)
