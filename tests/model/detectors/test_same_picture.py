"""Training, which reads files, and prediction, which gets pictures, see the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Dataset, LabeledImage
from model.data.images import ImageError, displayed_size, letterbox, load_image
from model.detectors.training import Samples
from tests.model.data.test_images import encode, gradient
from tests.model.data.test_images_depth import RAMP, colours, drawing, of_opencv, tiff

DEEP = np.rint(RAMP * 4095).astype(np.uint16)
TURNED = Image.Exif()
TURNED[0x0112] = 6
ODD = {
    "12 bits": encode(DEEP),
    "12 bits in colour": of_opencv(".png", colours(DEEP)),
    "floats": tiff(RAMP.astype(np.float32)),
    "floats in colour": of_opencv(".tiff", colours(RAMP).astype(np.float32)),
    "transparent": drawing("RGBA"),
    "turned": encode(gradient(), "JPEG", exif=TURNED),
    "turned tiff": tiff(gradient(), 8),
    "no end": encode(gradient(), "JPEG")[:-2],
}


@pytest.mark.parametrize("name", ODD)
def test_training_and_prediction_see_the_same_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / "7"  # as the product names it: without a suffix
    path.write_bytes(ODD[name])
    predicted = load_image(ODD[name])
    size = (predicted.shape[1], predicted.shape[0])
    assert displayed_size(path) == size
    trained, _, _ = Samples(Dataset((LabeledImage(7, path, size),), ("a",)), 64, cached=False)[0]
    np.testing.assert_array_equal(trained.permute(1, 2, 0).numpy(), letterbox(predicted, 64)[0])


def test_ultralytics_view_of_images_changes_nothing() -> None:
    """It replaces `Image.open`, and asks for a package where Pillow knows no format."""
    from ultralytics.utils import patches

    assert Image.open is patches.image_open
    with pytest.raises(ImageError) as error:
        load_image(b"neither this nor that", "x")
    assert "pi_heif" not in str(error.value)
    assert load_image(ODD["floats in colour"]).shape == (64, 64, 3)
