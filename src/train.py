"""Train a VGG: python src/train.py [group=choice ...] [key=value ...]. `--help` says what there is to choose."""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys

import hydra
from omegaconf import DictConfig

from vgg_cifar.command_line import complain, guard, prepare, quiet, register_resolvers
from vgg_cifar.composition import checked, default_options, differences_from_defaults
from vgg_cifar.errors import DONE, Interrupted, UserError

register_resolvers()


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def train(composed: DictConfig) -> None:
    """Run; Hydra has made the folder."""
    from hydra.core.hydra_config import HydraConfig

    from vgg_cifar.runs.folder import RunFolder
    from vgg_cifar.runs.placement import rank

    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    raw, config = checked(composed, overrides)
    changed = differences_from_defaults(raw) if rank() == 0 else {}
    folder = RunFolder(settings.runtime.output_dir)
    try:
        from vgg_cifar.training import run  # torch, Lightning: some seconds in which Ctrl-C may come

        code = run(config, folder, overrides, changed)
    except (UserError, Interrupted, KeyboardInterrupt) as error:
        folder.discard_unless_begun()
        if not isinstance(error, UserError):
            raise
        code = complain(error)
    if code:
        sys.exit(code)


def main() -> int:
    """Check the command line, then let Hydra run it, or the jobs of a sweep."""
    quiet()
    arguments = prepare(sys.argv[1:])
    if arguments is None:
        return DONE
    sys.argv[1:] = arguments
    default_options()  # remembered: while Hydra runs a job they cannot be composed
    train()
    return DONE


if __name__ == "__main__":
    guard(main)
