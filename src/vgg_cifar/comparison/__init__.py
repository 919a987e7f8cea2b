"""Many runs beside each other, in numbers: what differs between them, and what that is worth."""

from vgg_cifar.comparison.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
