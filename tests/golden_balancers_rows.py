"""Readers of golden results: TO BE FILLED."""

from golden_balancers import Reader, SequenceReader

READERS_GRAM: dict[str, Reader] = {}
READERS_STEPS: dict[str, Reader] = {}
READERS_SEQUENCE: dict[str, SequenceReader] = {}
