"""What a study searches, so that nothing else is ever mixed into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vgg_cifar.errors import UserError
from vgg_cifar.options import spelled

if TYPE_CHECKING:
    from optuna import Study

ATTRIBUTE = "vgg_cifar"


def refuse_another(study: Study, mine: Mapping[str, Any]) -> None:
    """Put down in a new study what it searches; compare it with what an older one does.

    Args:
        study: just opened.
        mine: what this search is: JSON, in parts by name.

    Raises:
        UserError: naming the difference.
    """
    stored = study.user_attrs.get(ATTRIBUTE)
    if stored is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(ATTRIBUTE, dict(mine))
        stored = study.user_attrs.get(ATTRIBUTE)  # another machine may have been faster
    if not isinstance(stored, dict):
        raise UserError(f"sweep: the study {study.study_name} is not one of this project; name another sweep=...")
    changed = list(_differences(stored, mine))
    if changed:
        raise UserError(
            f"sweep: the study {study.study_name} searches something else ({'; '.join(changed[:3])}); go back to that, "
            "or name another sweep=..."
        )


def _differences(stored: Mapping[str, Any], mine: Mapping[str, Any]) -> Iterator[str]:
    for part in mine:
        before, after = stored.get(part), mine[part]
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    yield f"{key}: {_brief(before.get(key))} -> {_brief(after.get(key))}"
        elif before != after:
            yield f"{part}: {_brief(before)} -> {_brief(after)}"


def _brief(value: Any) -> str:
    """A value, or a dimension, in few words."""
    if not isinstance(value, dict):
        return spelled(value)
    if value.get("choices"):
        return ",".join(map(str, value["choices"]))
    return f"{value.get('low')} to {value.get('high')}" + (", log" if value.get("log") else "")
