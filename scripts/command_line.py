"""How all scripts here take their options. Only Python's standard library."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
BAD_INPUT = 2  # as the program's


def called() -> str:
    """The script's name as people type it: scripts/report."""
    script = Path(sys.argv[0]).resolve()
    return str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else script.name


def stop(message: object, code: int) -> NoReturn:
    print(f"{called()}: {message}", file=sys.stderr)
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """Keeps the lines of a description as they are, and refuses in one line."""

    def __init__(self, description: str | None = None, **more) -> None:
        more = {"prog": called(), "formatter_class": argparse.RawDescriptionHelpFormatter} | more
        super().__init__(description=description, **more)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")
