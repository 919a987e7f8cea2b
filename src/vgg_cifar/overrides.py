"""What was typed, word by word: `group=choice`, `key=value`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vgg_cifar.config import FOUND
from vgg_cifar.errors import NAME_IN_ADDRESS, UserError
from vgg_cifar.limits import bounded
from vgg_cifar.options import quoted

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

SECRETS = "give it in the environment, as MLFLOW_TRACKING_URI, WANDB_API_KEY or OPTUNA_STORAGE"


def option_of(override: str) -> str:
    """The option or group that is meant, without the signs that Hydra takes before it."""
    return override.partition("=")[0].lstrip("+~")


def value_of(override: str) -> str:
    """What it is set to, without quotes."""
    return override.partition("=")[2].strip("'\"")


def parse(overrides: list[str]) -> list[Override]:
    """Read overrides by Hydra's grammar.

    Raises:
        UserError: naming the one that cannot be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        if NAME_IN_ADDRESS.search(override):
            raise UserError(
                f"{option_of(override)}: holds an address with a name or password, which files would keep; {SECRETS}"
            )
        try:
            override.encode()
            with bounded(option_of(override)):
                parsed += parser.parse_overrides([override])
        except UnicodeEncodeError as error:
            raise UserError(f"{override}: holds bytes that are not UTF-8") from error
        except (HydraException, RecursionError, ValueError) as error:
            if "=" not in override and not override.startswith("~"):
                raise UserError(f"{override}: expected group=choice or key=value") from error
            if override.endswith(","):
                raise UserError(f"{override}: ends with a comma; write several values without spaces: a,b") from error
            reason = re.sub(r"^\w+Exception: ", "", str(error).partition("\n")[0])
            raise UserError(
                f"{override}: cannot be read ({reason}); put quotes around special signs: \"key='value'\""
            ) from error
    return parsed


def with_typed(began: list[Any], tuned: dict[str, Any], config: dict[str, Any], typed: list[str]) -> list[str]:
    """The overrides of a stored run, replaced and extended by those typed now; a choice takes its options along.

    Args:
        began: the stored ones; what they allow, and what they tell Hydra, is not taken from a folder.
        tuned: what the run found for `auto`; it stays.
        config: the run's, which says where its images were, if it read any, and what it chose.
        typed: the overrides of now.
    """
    found = {
        name: f"{name}={number!r}" for name, number in tuned.items() if name in FOUND and type(number) in (int, float)
    }
    kept = [str(each) for each in began if not _grants(str(each))] + list(found.values())
    chosen = {group: each["name"] for group, each in config.items() if isinstance(each, dict) and "name" in each}
    another = {
        option_of(each)
        for each in typed
        if each not in kept and option_of(each) in chosen and value_of(each) != chosen[option_of(each)]
    }
    kept = [each for each in kept if option_of(each).partition(".")[0] not in another]
    data = config.get("data")
    root = data.get("root") if isinstance(data, dict) else None
    if isinstance(root, str):
        kept.append(f"data.root={quoted(root)}")
    merged: dict[str, str] = {}
    for override in (*kept, *(each for each in typed if each not in {f"{name}=auto" for name in found})):
        merged[option_of(override)] = override
    return list(merged.values())


def _grants(override: str) -> bool:
    """Whether an override touches `allow`, Hydra's settings or a package: what a folder may not say."""
    (parsed,) = parse([override])
    return parsed.package is not None or re.match(r"(allow|hydra)\b", parsed.key_or_group) is not None
