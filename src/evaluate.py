"""See what a run's network knows: python src/evaluate.py run=FOLDER[,FOLDER...] [checkpoint=best|last|epoch_N|FILE] ...

Writes numbers, tables, pictures and report.html into the run's evaluation/, or into to=FOLDER. Several runs, whose
probabilities are averaged, have to be told to=. Further: split=test|val, tta=none|flip|multicrop (views of each image),
corruptions=N (images, each corrupted in 75 ways), cost=true (latency and throughput), report=false (numbers alone),
devices=N, data.root=FOLDER, allow=PACKAGE,...
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys

from vgg_cifar.command_line import folders, guard, key_values, listed, quiet, refuse_unwritable, register_resolvers
from vgg_cifar.errors import UserError
from vgg_cifar.evaluation.options import EvaluationOptions
from vgg_cifar.options import options_of
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.placement import required

OWN = ("run", "checkpoint", "to", "data.root", "allow")


def main() -> int:
    """Evaluate, write, and compare with what the run itself found."""
    given = key_values(sys.argv[1:], dict.fromkeys([*OWN, *EvaluationOptions.model_fields]))
    typed = required(given["run"])
    sources = folders(typed) or [typed]
    twice = next((each for each in sources if sources.count(each) > 1), None)
    if twice is not None:
        raise UserError(f"run: {twice} is named twice; name every run once")
    if len(sources) > 1 and given["to"] is None:
        raise UserError("to: several runs are evaluated together; say where it goes: to=FOLDER")
    options = options_of(EvaluationOptions, {key: given[key] for key in EvaluationOptions.model_fields})
    runs = [RunFolder.existing(source, "run") for source in sources]
    place = RunFolder(given["to"]).path if given["to"] else runs[0].evaluation_of(options.split)
    refuse_unwritable(place, "to")
    quiet()
    register_resolvers()
    from vgg_cifar.evaluation.evaluating import evaluate
    from vgg_cifar.reporting.evaluation_report import refuse_what_is_no_evaluation, write_evaluation
    from vgg_cifar.reporting.terminal import evaluated
    from vgg_cifar.signals import Signals
    from vgg_cifar.trained import restore

    which, root, allow = given["checkpoint"], given["data.root"], listed(given["allow"])
    refuse_what_is_no_evaluation(place)
    with Signals().taken():
        found = evaluate([restore(folder, which, root, allow) for folder in runs], options)
        if found is None:
            return 0  # another process tells
        evaluated(found, write_evaluation(found, place, report=options.report))
    return 0


if __name__ == "__main__":
    guard(main, __doc__)
