"""What the options of every part share: typed, closed to unknown names, fixed once made.

The values live in `conf/`, one short file per choice; a class beside the part says what each field means and allows.
Modules that define options import no heavy library, so that a mistake is answered before torch is loaded.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from vgg_cifar.errors import UserError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _of_the_run(value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(
            f"should be a fraction of the run, below 1, is {value:g} (epoch 60 of 200, for example, is at 0.3)"
        )
    return value


PartOfRun = Annotated[float, AfterValidator(_of_the_run)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
DIGITS = 18
"""Of a typed whole number, at most."""


class Options(BaseModel):
    """Base of all option classes; a field's docstring gives its meaning and unit."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )


Asked = TypeVar("Asked", bound=Options)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted keys."""
    options: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            options |= flat(value, f"{prefix}{key}.")
        else:
            options[f"{prefix}{key}"] = value
    return options


def is_within(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of these, or an option within one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def spelled(value: Any) -> str:
    """A value as it is typed on the command line."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def quoted(text: str) -> str:
    """A value in Hydra's override grammar that stands for exactly this text."""
    # A backslash is only special before a quote.
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def literal(value: Any) -> str:
    """A value of a configuration, no dict, in Hydra's override grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    return quoted(value) if isinstance(value, str) else spelled(value)


def keys(annotation: Any, raw: Any = None, prefix: str = "") -> Iterator[str]:
    """The dotted names of all options of a class, groups included.

    Args:
        annotation: an option class, or a choice of several by their `name`.
        raw: nested dicts whose `name`s say which choices were taken; where they say nothing, all choices count.
        prefix: put before each name.
    """
    for options in chosen(annotation, raw):
        for name, field in options.model_fields.items():
            key = f"{prefix}{field.alias or name}"
            yield key
            yield from keys(field.annotation, raw.get(name) if isinstance(raw, dict) else None, f"{key}.")


def chosen(annotation: Any, raw: Any = None) -> list[type[Options]]:
    """The option classes that an annotation allows; of several, those with the `name` that `raw` has."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    if get_origin(annotation) in (list, dict, Literal):
        return []
    found = [options for member in get_args(annotation) for options in chosen(member)]
    name = raw.get("name") if isinstance(raw, dict) else None
    return [options for options in found if name in choice_names(options)] or found


def choice_names(options: type[Options]) -> tuple[str, ...]:
    """The values of `name` that stand for this class of a group."""
    return get_args(options.model_fields["name"].annotation) if "name" in options.model_fields else ()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The dotted name most like a word, capitals or not, or None if none is: for `lr`, `optimizer.lr`."""
    word = word.lower()
    parent, dotted, leaf = word.rpartition(".")

    def likeness(key: str) -> float:
        its_parent, _, its_leaf = key.lower().rpartition(".")
        of_leaf = SequenceMatcher(None, leaf, its_leaf).ratio() - (0.1 if its_parent != parent else 0.0)
        return of_leaf if dotted else max(of_leaf, SequenceMatcher(None, word, key.lower()).ratio())

    best = max(known, key=lambda key: (likeness(key), -len(key)), default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing where no name is like the word."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def no_such_option(key: str, model: type[Options], raw: Any) -> str:
    """What to say of an option that is not there: the choices that have it, or the nearest name."""
    known = list(keys(model, raw))
    group, _, leaf = key.rpartition(".")
    if group in known:
        annotation: Any = model
        for part in group.split("."):
            (options,) = chosen(annotation, raw)[:1]
            annotation, raw = options.model_fields[part].annotation, raw.get(part) if isinstance(raw, dict) else None
        owners = [
            name
            for options in chosen(annotation)
            if leaf in {field.alias or name for name, field in options.model_fields.items()}
            for name in choice_names(options)
        ]
        if owners and isinstance(raw, dict) and "name" in raw:
            return f"{key}: {group}={raw['name']} has no such option, only {', '.join(owners)}"
    return f"{key}: there is no such option{did_you_mean(key, known)}"


def options_of(model: type[Asked], typed: Mapping[str, str | list[str] | None]) -> Asked:
    """The options of a command that needs no Hydra, as they were typed.

    Args:
        model: their class.
        typed: what stood behind each key, words of a list apart; what is None was not typed.

    Raises:
        UserError: naming the first that is not allowed.
    """
    raw = {key: _value(each) if isinstance(each, str) else each for key, each in typed.items() if each is not None}
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        as_typed = {key: ",".join(each) if isinstance(each, list) else each for key, each in raw.items()}
        raise UserError(in_one_line(error, as_typed, model)) from error


def _value(typed: str) -> object:
    digits = typed.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= DIGITS:
        return int(typed)
    return {"true": True, "false": False}.get(typed, typed)


TOLD = {"extra_forbidden": 0, "missing": 2}
"""Which kinds of fault are told before others, which behind."""


def in_one_line(error: ValidationError, raw: Any, model: type[Options]) -> str:
    """The first fault of a failed check as `key: what is wrong`, counting the others.

    A name that nothing has comes first, since the option that was meant may be missing then; what is missing last,
    and together.

    Args:
        error: what pydantic raised.
        raw: the nested dict that was checked; it tells the keys a user typed from pydantic's own path elements.
        model: the class it was checked against.
    """
    faults: dict[str, list[tuple[ErrorDetails, Any]]] = {}
    for fault in error.errors(include_url=False):
        key, value = _place(fault, raw)
        faults.setdefault(key, []).append((fault, value))
    key, alternatives = min(faults.items(), key=lambda each: TOLD.get(each[1][0][0]["type"], 1))
    fault, value = alternatives[0]
    also = [each for each, found in faults.items() if each != key and fault["type"] == found[0][0]["type"] == "missing"]
    others = f", and so {'are' if also[1:] else 'is'} {', '.join(also)}" if also else ""
    if uncounted := len(faults) - 1 - len(also):
        others += f" (and {uncounted} more)"
    if fault["type"] == "extra_forbidden":
        return no_such_option(key, model, raw) + others
    if all("should " in each["msg"] and each["type"] != "value_error" for each, _ in alternatives):
        wanted = [each["msg"].partition("should ")[2].replace(" after validation", "") for each, _ in alternatives]
        message = f"should {' or '.join(_sharing_be(wanted))}, is {value!r}"
    else:
        message = _said(fault["type"], fault["msg"], fault.get("ctx", {}))
    names_its_key = not key or message.startswith((f"{key}.", f"{key}:"))  # as a check of several options does
    return f"{'' if names_its_key else f'{key}: '}{message}{others}"


def _place(fault: ErrorDetails, raw: Any) -> tuple[str, Any]:
    """The key that a fault is about, and what is there."""
    path: list[str] = []
    node: Any = raw
    for place, element in enumerate(fault["loc"], start=1):
        if element in (range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()):
            node = node[element]
        elif fault["type"] != "missing" or place < len(fault["loc"]):
            continue  # a tag of pydantic's own, which stands in no file
        path.append(str(element))
    return ".".join(path), node


def _sharing_be(wanted: list[str]) -> list[str]:
    """`be a number`, `be 'auto'`: the second without its verb."""
    return [wanted[0], *(each.removeprefix("be ") for each in dict.fromkeys(wanted[1:]))]


def _said(kind: str, message: str, context: dict[str, Any]) -> str:
    """What pydantic found, as a user of the command line would put it."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "missing":
        return "this option is missing"
    if kind == "union_tag_not_found":
        return "its name is missing, which says which choice it is"
    if kind == "union_tag_invalid":
        known = context["expected_tags"]
        return f"its name is {context['tag']!r}, should be one of {known}: the kind that has its options"
    return message
