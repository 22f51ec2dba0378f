"""Data inside a page: as JSON that no text can break out of, compressed, and pictures as data URIs."""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

LARGEST = 480
"""Pixels of a gallery picture's longer side."""


def compact(value: Any, digits: int = 5) -> Any:
    """A value as JSON holds it: numbers with so many significant digits, null for what is not finite."""
    if value is None or isinstance(value, str):  # most are, so they come first
        return value
    if isinstance(value, float):
        return _short(value, digits) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): compact(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [compact(part, digits) for part in value]
    return value if isinstance(value, int) else str(value)


def script_json(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`, which ends at the first `</script` whatever it is in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def packed(content: str) -> Markup:
    """Text as base64 of gzip, the same bytes for the same text."""
    return Markup(b64encode(gzip.compress(content.encode(), 6, mtime=0)).decode())


def picture(path: Path) -> str:
    """A picture as it is, or smaller where it is large: a page of many stays light."""
    with Image.open(path) as image:
        if image.format == "PNG" and max(image.size) <= LARGEST:
            return data_uri(path.read_bytes())
        smaller = image.convert("RGB")
    smaller.thumbnail((LARGEST, LARGEST))
    buffer = BytesIO()
    smaller.save(buffer, "PNG")
    return data_uri(buffer.getvalue())


def data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"


def _short(value: float, digits: int) -> float | int:
    """Whole numbers without a point."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
