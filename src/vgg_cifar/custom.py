"""The choice `custom` of a group: a class of the user's own, named by `_target_`, in place of a shipped one.

A name in a configuration must not become a way to run code. So `_target_` must name a class, never a function, which
derives from what its place takes and is defined in an allowed package; its arguments are plain values, checked against
its signature. More packages are allowed with `allow=[package]`, on the command line only.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import typing
from collections.abc import Iterable
from types import ModuleType
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, ValidationInfo, model_validator

from vgg_cifar.errors import first_line
from vgg_cifar.options import Options, did_you_mean

ALLOWED = ("torch", "torchvision", "timm", "vgg_cifar")
"""Packages whose classes a configuration may always name."""


class Custom(Options):
    """A class of the user's own; every option beside those below is an argument of it."""

    model_config = ConfigDict(extra="allow")
    group: ClassVar[str]
    base: ClassVar[str]
    """What the class must derive from."""
    handed: ClassVar[tuple[str, ...]] = ()
    """Arguments that it gets from the project, in this order, before all others."""
    filled: ClassVar[tuple[str, ...]] = ()
    """Arguments that it gets from the project unless they are given."""

    name: Literal["custom"]
    target: str = Field(alias="_target_")
    """The class, with its module: `torch.optim.NAdam`."""
    _class: type[Any] = PrivateAttr()

    @model_validator(mode="after")
    def _names_a_class_that_fits(self, info: ValidationInfo) -> Custom:
        allowed = (*ALLOWED, *((info.context or {}).get("allow") or ()))
        key = f"{self.group}._target_"
        self._class = find_class(self.target, self.base, allowed, key)
        check_arguments(self._class, self.arguments(), self.handed, self.filled, self.group)
        return self

    def arguments(self) -> dict[str, Any]:
        """What the class is called with, beside what it is handed."""
        return dict(self.model_extra or {})

    def takes(self, argument: str) -> bool:
        """Whether the class has an argument of this name."""
        return argument in inspect.signature(self._class).parameters

    def make(self, *handed: Any, **more: Any) -> Any:
        """An instance.

        Raises:
            ValueError: in one line, if the class refuses its arguments.
        """
        try:
            return self._class(*handed, **{**more, **self.arguments()})
        except Exception as error:
            raise ValueError(f"{self.group}: {self.target} refuses its arguments: {first_line(error)}") from error


def find_class(target: str, base: str, allowed: Iterable[str], key: str) -> type[Any]:
    """Import the class that a dotted name stands for.

    Args:
        target: like `torch.optim.NAdam`.
        base: the name of the class that it must derive from.
        allowed: top-level packages from which it may come, also where it is only imported elsewhere.
        key: the option that named it, for errors.

    Raises:
        ValueError: in one line, if there is no such class or it must not be used. Nothing is imported from a package
            that is not allowed.
    """
    packages = tuple(allowed)
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ValueError(f"{key}: should be a class with its module, like torch.optim.NAdam, is {target!r}")
    if parts[0] not in packages:
        raise ValueError(
            f"{key}: classes come from {', '.join(packages)}, not from {parts[0]}; if you trust it, "
            f"add allow=[{parts[0]}] on the command line"
        )
    if any(part.startswith("_") for part in parts):
        raise ValueError(f"{key}: {target} is private")
    found: Any = None
    for length in range(len(parts), 0, -1):
        found = _module(".".join(parts[:length]), key)
        if found is not None:
            parts = parts[length:]
            break
    if found is None:
        raise ValueError(f"{key}: the package {parts[0]} is not installed")
    for part in parts:
        inside = found
        found = getattr(inside, part, None)
        if found is None:
            near = did_you_mean(part, [name for name in dir(inside) if not name.startswith("_")])
            raise ValueError(f"{key}: {inside.__name__} has no {part}{near}")
    required = _imported(base)
    if not isinstance(found, type):
        kind = "a module" if isinstance(found, ModuleType) else "not a class"
        raise ValueError(f"{key}: {target} is {kind}; a class that derives from {base} is needed")
    if not issubclass(found, required):
        raise ValueError(f"{key}: {target} does not derive from {base}")
    home = found.__module__.partition(".")[0]
    if home not in packages:
        raise ValueError(f"{key}: {target} is defined in {found.__module__}; add allow=[{home}] on the command line")
    return found


def check_arguments(
    made: type[Any], arguments: dict[str, Any], handed: tuple[str, ...], filled: tuple[str, ...], group: str
) -> None:
    """Compare arguments with a class's signature.

    Args:
        made: the class.
        arguments: what a user gives it.
        handed: its first arguments, which the project gives it.
        filled: arguments that the project gives it if the user does not.
        group: what the arguments' keys begin with.

    Raises:
        ValueError: in one line, for one that is unknown, missing, given twice or of another type than annotated.
    """
    parameters = list(inspect.signature(made).parameters.values())
    own = parameters[len(handed) :]
    named = {p.name: p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for name, value in arguments.items():
        if name in {parameter.name for parameter in parameters[: len(handed)]}:
            raise ValueError(f"{group}.{name}: is handed to {made.__name__} by the run itself; leave it out")
        if name not in named and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            near = did_you_mean(f"{group}.{name}", [f"{group}.{known}" for known in named])
            raise ValueError(f"{group}.{name}: {made.__name__} has no such argument{near}")
        _check_type(made, name, value, group)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in arguments and name not in filled:
            raise ValueError(f"{group}.{name}: {made.__name__} needs it; give +{group}.{name}=...")


def _check_type(made: type[Any], name: str, value: Any, group: str) -> None:
    try:
        wanted = typing.get_type_hints(made.__init__).get(name, Any)
        adapter = TypeAdapter(wanted, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # an annotation that only a type checker understands
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        spelled = str(wanted if typing.get_origin(wanted) or not isinstance(wanted, type) else wanted.__name__)
        raise ValueError(
            f"{group}.{name}: {made.__name__} takes {spelled.replace('typing.', '')}, is {value!r}"
        ) from error


def _module(name: str, key: str) -> ModuleType | None:
    """The module of this name, or None if there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise ValueError(f"{key}: {name} needs the package {error.name}, which is not installed") from error
    except Exception as error:
        raise ValueError(f"{key}: {name} cannot be imported: {type(error).__name__}: {error}") from error


def _imported(name: str) -> type[Any]:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
