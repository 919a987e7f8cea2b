"""Train a VGG: python src/train.py [group=choice ...] [key=value ...]. See conf/ for the choices."""

import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from vgg_cifar.command_line import complain, guard, prepare, quiet, register_resolvers
from vgg_cifar.errors import UserError

register_resolvers()


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def train(composed: DictConfig) -> None:
    """Run one job; Hydra has made its folder."""
    from hydra.core.hydra_config import HydraConfig

    from vgg_cifar.config import check
    from vgg_cifar.runs.folder import RunFolder
    from vgg_cifar.training import run

    config = check(OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]
    settings = HydraConfig.get()
    folder = RunFolder(settings.runtime.output_dir)
    try:
        code = run(config, folder, list(settings.overrides.task))
    except UserError as error:
        folder.discard_unless_begun()
        code = complain(error)
    if code:
        sys.exit(code)


def main() -> None:
    """Check the command line, then let Hydra run it."""
    quiet()
    sys.argv[1:] = prepare(sys.argv[1:])
    train()


if __name__ == "__main__":
    guard(main)
