"""Carries a balancer out: from task losses to `.grad` of every parameter."""

from mtlbench.engine.base import Engine
from mtlbench.engine.diagnostics import Diagnostics
from mtlbench.engine.make import make_engine

__all__ = ["Diagnostics", "Engine", "make_engine"]
