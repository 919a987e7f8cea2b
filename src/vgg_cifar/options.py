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
    path: list[str] = []
    node: Any = raw
    for element in faults[0]["loc"]:
        if element in (range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()):
            node = node[element]
        elif faults[0]["type"] != "missing":
            continue
        path.append(str(element))
    message = faults[0]["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if faults[0]["type"] == "extra_forbidden":
        message = "there is no such option"
    elif faults[0]["type"] == "missing":
        message = "this option is missing"
    elif path and not faults[0]["msg"].startswith("Value error"):
        message = f"should be {message}, is {node!r}"
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{'.'.join(path)}: {message}{others}" if path else f"{message}{others}"
