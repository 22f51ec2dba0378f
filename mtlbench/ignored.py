"""The label that says nothing, by itself: pictures of labels are drawn without torch."""

IGNORE = 255
"""Class maps: pixels with this label count neither in a loss nor in a metric."""
