"""The commands in `src/`, as modules whose `main` a test may call."""

import importlib.util
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).resolve().parents[1] / "src"


def script(name: str) -> ModuleType:
    """The command of this name."""
    spec = importlib.util.spec_from_file_location(name, SOURCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
