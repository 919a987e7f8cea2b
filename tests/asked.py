"""What an evaluation finds of a run, without a command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgg_cifar.evaluation.evaluating import evaluate
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.evaluation.options import EvaluationOptions
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import restore


def asked(*folders: RunFolder, which: str | Path | None = None, allow: Sequence[str] = (), **options: Any) -> Findings:
    """Ask the networks of some runs together, with options of `EvaluationOptions`."""
    found = evaluate([restore(folder, which, allow=allow) for folder in folders], EvaluationOptions(**options))
    assert found is not None
    return found
