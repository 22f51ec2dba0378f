"""Ray-cast indoor scenes with exact labels, a pure function of (seed, stream, index, size).

`compose.py` draws what stands in a room, `builder.py` collects it as arrays, `kernels.py` traces it.
"""

from .compose import compose
from .paint import paint
from .render import Rendered, render

__all__ = ["Rendered", "compose", "paint", "render"]
