"""What the options of every part share: typed, closed to unknown names, fixed once made.

The values live in `conf/`, one short file per choice; a class beside the part says what each field means and allows.
Modules that define options import no heavy library, so that a mistake is answered before torch is loaded.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Options(BaseModel):
    """Base of all option classes; a field's docstring gives its meaning and unit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def in_one_line(error: ValidationError, raw: Any) -> str:
    """The first fault of a failed check as `key: what is wrong`, counting the others.

    Args:
        error: what pydantic raised.
        raw: the nested dict that was checked; it tells the keys a user typed from pydantic's own path elements.
    """
    faults = error.errors(include_url=False)
    fault = faults[0]
    path: list[str] = []
    node: Any = raw
    for place, element in enumerate(fault["loc"], start=1):
        if element in (range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()):
            node = node[element]
        elif fault["type"] != "missing" or place < len(fault["loc"]):
            continue  # a tag of pydantic's own, which stands in no file
        path.append(str(element))
    key = ".".join(path)
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    message = _said(fault["type"], fault["msg"], fault.get("ctx", {}), node)
    return f"{key}: {message}{others}" if key else f"{message}{others}"


def _said(kind: str, message: str, context: dict[str, Any], value: Any) -> str:
    """What pydantic found, as a user of the command line would put it."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return "there is no such option"
    if kind == "missing":
        return "this option is missing"
    if kind == "union_tag_not_found":
        return "its name is missing, which says which choice it is"
    if kind == "union_tag_invalid":
        return f"there is no choice {context['tag']!r}, only {context['expected_tags']}"
    wanted = message.partition("should ")[2].replace(" after validation", "") or message
    return f"should {wanted}, is {value!r}"
