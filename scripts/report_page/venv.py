"""What scripts/setup brings into .venv/, for scripts that another Python was started with."""

import importlib.util
import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parents[2] / ".venv"


def is_there(module: str) -> bool:
    """Goes on as the project's own Python, with the same arguments, where only that one may have it."""
    if importlib.util.find_spec(module):
        return True
    python = VENV / "bin/python"
    if python.exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), *sys.argv])
    return False
