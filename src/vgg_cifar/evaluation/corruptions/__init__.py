"""Images made worse in fifteen ways and five strengths, to see what a network makes of them."""

from vgg_cifar.evaluation.corruptions.corrupting import CORRUPTIONS, GROUPS, SEVERITIES, corrupt

__all__ = ["CORRUPTIONS", "GROUPS", "SEVERITIES", "corrupt"]
