"""Labels and predictions as pictures.

Each function takes one map in label layout as an array and a reference map (the label) for what must share a
scale, and returns (H, W, 3) uint8.
"""

import colorsys

import numpy as np

from mtlbench.ignored import IGNORE

IGNORED_COLOUR = 30


def _palette() -> np.ndarray:
    """256 well separated colours: hues by the golden ratio, three levels of brightness."""
    colours = [
        colorsys.hsv_to_rgb(
            (0.08 + i * 0.618034) % 1.0, (0.45, 0.75, 0.6)[i % 3], (0.95, 0.85, 0.6)[i // 2 % 3]
        )
        for i in range(256)
    ]
    palette = np.rint(np.array(colours) * 255).astype(np.uint8)
    palette[IGNORE] = IGNORED_COLOUR
    return palette


PALETTE = _palette()


def draw_classes(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Class ids (H, W)."""
    return PALETTE[values.astype(np.uint8)]


def draw_parts(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Class ids (H, W) whose class 0 is background, drawn black."""
    return np.where((values == 0)[..., None], np.uint8(0), PALETTE[values.astype(np.uint8)])


def draw_binary(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Classes 0 and 1 or probabilities (H, W) in grey."""
    grey = np.where(values == IGNORE, IGNORED_COLOUR, np.clip(values.astype(np.float64), 0, 1) * 255)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def draw_depth(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Metres (1, H, W), near bright, on the scale of the reference; invalid pixels dark."""
    from matplotlib import colormaps

    largest = max(float(np.nanmax(reference)), 1e-6)
    share = np.clip(values[0] / largest, 0, 1)
    picture = np.rint(colormaps["magma_r"](share)[..., :3] * 255).astype(np.uint8)
    picture[values[0] == 0] = IGNORED_COLOUR
    return picture


def draw_normals(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Unit vectors (3, H, W), the usual (n + 1) / 2; invalid pixels dark."""
    picture = np.rint((np.moveaxis(values, 0, -1) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    picture[(values == 0).all(0)] = IGNORED_COLOUR
    return picture
