"""From a run's folder to what is known of its network."""

from vgg_cifar.evaluation.evaluating import evaluate

__all__ = ["evaluate"]
