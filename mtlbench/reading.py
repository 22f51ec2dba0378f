"""Files that may be damaged: whatever a library raises becomes one error that names the path."""

import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
from PIL import Image

from mtlbench.errors import DataError

IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises: SyntaxError for broken PNG chunks, the last one for headers of absurd sizes."""
_MAT_ERRORS = (
    NameError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError,
    NotImplementedError, zlib.error,
)  # fmt: skip
"""What `loadmat` raises for files that are cut, damaged or of another version."""


def load_array(path: Path, expected: str, *, lazily: bool = False) -> np.ndarray:
    """A whole .npy file; lazily, its header and length are checked and nothing else is read.

    Raises:
        DataError: it is none, or damaged; `expected` says what it should be.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                raise ValueError("it does not begin as such a file does")
        array: np.ndarray = np.load(path, mmap_mode="r" if lazily else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        raise DataError(unreadable(path, expected, error)) from error
    return array


def load_mat(path: Path, key: str) -> np.ndarray:
    """One variable of a MATLAB file (version 5), as `scipy.io.loadmat` gives it.

    Raises:
        DataError: the file is damaged, or has no such variable.
    """
    from scipy.io import loadmat  # takes a tenth of a second, and few commands read such files
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, variable_names=[key])
    except (*_MAT_ERRORS, MatReadError) as error:
        raise DataError(unreadable(path, f"a MATLAB file that holds `{key}`", error)) from error
    if key not in found:
        raise DataError(f"{path} must hold `{key}`, but does not")
    return np.asarray(found[key])


def unreadable(path: Path, expected: str, error: Exception) -> str:
    """The message for a file that a library could not read."""
    return f"{path} must be {expected}, but can't be read: {type(error).__name__}: {error}"
