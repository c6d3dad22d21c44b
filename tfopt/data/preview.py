"""Samples for people to look at: small pictures, text, or their first numbers."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfopt.data.arrays import Arrays, take
from tfopt.errors import DataError

# Shows a sample: its input, or its inputs by name, to text, an image, or several of them by caption.
Show = Callable[[Any], Any]
# Longest sides of a picture in pixels; the first at which all pictures fit into `MOST_BYTES`, as base64, is taken.
SIDES = (64, 48, 32, 24, 16)
MOST_BYTES = 150_000
# Shortest side and channels of an input that is taken for an image.
LEAST_SIDE, CHANNELS = 6, (1, 3, 4)
# Longest text, and the numbers that stand for an input that is neither image nor text.
LONGEST, NUMBERS = 600, 12
# Ends that the values of images usually have: the first that cover all values, and of which these use a share at
# least, are black and white. All else, such as spectra from 0 to 8, is stretched from its lowest value to its highest.
_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
# A PNG is a dozen lines here. Pillow, which comes with TensorBoard by chance, would be a dependency for them alone.
_USED = 0.25
_PNG, _COLOURS = b"\x89PNG\r\n\x1a\n", {1: 0, 3: 2, 4: 6}


@dataclass(frozen=True)
class Preview:
    """One input of one sample, to be looked at.

    Args:
        kind: `image`, `text` or `numbers`.
        content: The text, the first numbers as text, or a PNG in base64.
        width: Width of the picture in pixels; 0 for text and numbers.
        height: Height of the picture in pixels.
    """

    kind: Literal["image", "text", "numbers"]
    content: str
    width: int = 0
    height: int = 0


def previews(x: Arrays, show: Show | None = None, most_bytes: int = MOST_BYTES) -> list[dict[str, Preview]]:
    """The inputs of samples as pictures, text or numbers, by input name or by the captions of `show`.

    Args:
        x: `(samples, ...)`, or a dict of such arrays by input name.
        show: The data's own way to show a sample, as `tfopt.Data` has it; None for pictures of inputs that are
            images, and numbers of all others.
        most_bytes: Most bytes of all pictures together, in base64; they are made smaller until they fit.

    Raises:
        DataError: `show` fails, or returns neither text nor images.
    """
    count = len(next(iter(x.values())) if isinstance(x, dict) else x)
    named = x if isinstance(x, dict) else {"": x}
    samples: list[dict[str, Any]] = [{name: array[i] for name, array in named.items()} for i in range(count)]
    if show is not None:
        samples = [_shown(show, take(x, i)) for i in range(count)]
    captions = list(dict.fromkeys(caption for sample in samples for caption in sample))
    ends = {caption: _ends([sample[caption] for sample in samples if caption in sample]) for caption in captions}
    for side in SIDES:
        found = [
            {caption: _preview(value, ends[caption], side, show is not None) for caption, value in sample.items()}
            for sample in samples
        ]
        total = sum(len(one.content) for sample in found for one in sample.values() if one.kind == "image")
        if total <= most_bytes:
            break
    return found if samples else []


def _shown(show: Show, sample: Any) -> dict[str, Any]:
    """What `show` gives for one sample, by caption."""
    from tfopt.user_code import describe

    try:
        given = show(sample)
    except Exception as error:
        raise DataError(f"show(x) fails on a sample: {describe(error)}", ("data",)) from error
    named = dict(given) if isinstance(given, Mapping) else {"": given}
    for value in named.values():
        array = None if isinstance(value, str) else np.asarray(value)
        if array is not None and not (array.dtype.kind in "biuf" and _is_image(array, least=1)):
            raise DataError(
                "show(x) gives text, an image (height, width) or (height, width, channels), or a dict of these by "
                f"caption. Received: {type(value).__name__}{f' of shape {array.shape}' if array.ndim else ''}.",
                ("data",),
            )
    return {str(caption): value for caption, value in named.items()}


def _is_image(array: np.ndarray, least: int = LEAST_SIDE) -> bool:
    channels = array.ndim == 3 and array.shape[-1] in CHANNELS
    return (channels or (array.ndim == 2 and least == 1)) and min(array.shape[:2]) >= least


def _ends(values: Sequence[Any]) -> tuple[float, float]:
    """The values that are black and white in the pictures of one input."""
    arrays = [np.asarray(value) for value in values if not isinstance(value, str)]
    arrays = [array for array in arrays if array.size and array.dtype.kind in "biuf"]
    if not arrays:
        return _RANGES[0]
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    reach = max(-low, high)
    fitting = (ends for ends in _RANGES if ends[0] <= low and high <= ends[1] and reach >= _USED * ends[1])
    usual = next(fitting, (low, high))
    return usual if usual[1] > usual[0] else (low, low + 1)


def _preview(value: Any, ends: tuple[float, float], side: int, asked: bool) -> Preview:
    if isinstance(value, str):
        return Preview("text", value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}...")
    array = np.asarray(value)
    if not _is_image(array, 1 if asked else LEAST_SIDE):
        few = ", ".join(f"{number:.4g}" for number in array.ravel()[:NUMBERS])
        return Preview("numbers", few if array.size <= NUMBERS else f"{few}, ... ({array.size:,} in all)")
    pixels = _shrunk(array if array.ndim == 3 else array[..., None], side)
    scaled = np.nan_to_num(np.clip((pixels - ends[0]) / (ends[1] - ends[0]), 0, 1))
    content = base64.b64encode(png(np.rint(scaled * 255).astype(np.uint8))).decode()
    return Preview("image", content, pixels.shape[1], pixels.shape[0])


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """An image `(height, width, channels)` whose sides are at most so long: the mean of each block of pixels."""
    factor = -(-max(image.shape[:2]) // side)
    found = image.astype(np.float64)
    if factor == 1:
        return found
    for axis in (0, 1):
        starts = np.arange(0, image.shape[axis], factor)
        lengths = np.diff([*starts, image.shape[axis]])
        found = np.add.reduceat(found, starts, axis=axis) / lengths.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return found


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels `(height, width, channels)` of 8 bits: grey, RGB or RGBA.

    References:
        Portable Network Graphics (PNG) Specification, W3C, 2003.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
