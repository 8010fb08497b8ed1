"""No file names a place on one machine, or work that was put off."""

import re
import unittest
from pathlib import Path

import tree

LEFTOVER = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
# The home folders and checkouts of whoever wrote the file.
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|home/\w+|Users/\w+)/\w")


def leftovers(file: Path, content: str) -> list[str]:
    return [
        f"{file}:{number}: {line.strip()}"
        for number, line in enumerate(content.splitlines(), start=1)
        if LEFTOVER.search(line) or MACHINE_PATH.search(line)
    ]


def readable(file: Path) -> str:
    """Empty for what is not text (images in docs/)."""
    try:
        return tree.text(file)
    except UnicodeDecodeError:
        return ""


class Leftovers(unittest.TestCase):
    def test_none_in_any_file(self):
        found = [line for file in tree.files() for line in leftovers(file, readable(file))]
        self.assertEqual(found, [])

    def test_the_check_sees_them(self):
        for line in (
            "// TO" + "DO: later",
            "# FIX" + "ME",
            "cd /" + "work/main",
            "see /" + "home/ann/x",
            '"/' + 'root/x"',
        ):
            self.assertEqual(len(leftovers(Path("a"), line)), 1, line)
        for line in (
            "a/" + "work/b",
            "~/" + "work/x",
            "https://example.org/home/x",
            "WORKDIR /opt/slicereduce",
            "${HOME}/root/x",
        ):
            self.assertEqual(leftovers(Path("a"), line), [], line)


if __name__ == "__main__":
    unittest.main()
