"""What every tuning promises: which parameters of a network train, and what is added to it."""

from mtlbench.model import Method


class Tuning:
    """Options are the keyword-only arguments of the constructor."""

    def apply(self, network: Method) -> Method:
        """Freeze, replace or add modules, before the optimizer is made; returns the network to train."""
        raise NotImplementedError
