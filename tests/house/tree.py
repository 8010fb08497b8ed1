"""The files that the structure tests read, and where the tools are."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLICEREDUCE_BUILD_DIR", ROOT / "build"))
TOOLS = Path(os.environ.get("SLICEREDUCE_VENV", ROOT / ".venv")) / "bin"

CPP_SUFFIXES = {".hpp", ".cpp", ".cu", ".cuh"}


def files() -> list[Path]:
    """All files that git has or would add, relative to the root; raises where the root is no checkout."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = sorted(set(listing.rstrip("\0").split("\0")))
    return [Path(name) for name in names if (ROOT / name).is_file()]


def cpp_files() -> list[Path]:
    return [file for file in files() if file.suffix in CPP_SUFFIXES]


def text(file: Path) -> str:
    return (ROOT / file).read_text(encoding="utf-8")
