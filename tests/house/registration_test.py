"""A test that no CMakeLists.txt names never runs: every *_test.cpp must be part of the build."""

import json
import re
import unittest
from pathlib import Path

import tree

INCLUDED = re.compile(r'^#include "(.*)"$', re.MULTILINE)
# Only built with a CUDA toolkit; without one, being named in the folder's CMakeLists.txt has to do.
NEEDS_CUDA = re.compile(r"cuda|nccl|gpu")


def compiled() -> set[Path]:
    """Also what is compiled as one of several (SLICEREDUCE_TESTS_AT_ONCE), by a file that CMake has made."""
    commands = json.loads((tree.BUILD / "compile_commands.json").read_text())
    given = {Path(command["directory"], command["file"]).resolve() for command in commands}
    several = (file for file in given if file.parent.name == "Unity")
    return given | {Path(name).resolve() for file in several for name in INCLUDED.findall(file.read_text())}


def named_beside(file: Path) -> bool:
    lists = tree.ROOT / file.parent / "CMakeLists.txt"
    stem = file.name.removesuffix("_test.cpp")
    return lists.exists() and re.search(rf"\b{re.escape(stem)}\b", lists.read_text()) is not None


def stands_in(file: Path) -> bool:
    """no_NAME.cpp, for builds without what NAME needs."""
    other = file.parent / file.name.removeprefix("no_")
    return other != file and any(
        (tree.ROOT / other).with_suffix(suffix).exists() for suffix in (".cpp", ".cu")
    )


class Registration(unittest.TestCase):
    def test_every_test_file_is_compiled(self):
        built = compiled()
        self.assertIn(tree.ROOT / "core/error.cpp", built, f"{tree.BUILD} is not a build of this checkout")
        forgotten = [
            str(file)
            for file in tree.files()
            if file.name.endswith("_test.cpp") and (tree.ROOT / file).resolve() not in built
            if not (NEEDS_CUDA.search(str(file)) and named_beside(file))
        ]
        self.assertEqual(forgotten, [])

    def test_every_source_file_is_compiled(self):
        built = compiled()
        folders = {"core", "sampling", "comm", "imagenet", "models", "launcher"}
        forgotten = [
            str(file)
            for file in tree.cpp_files()
            if file.suffix == ".cpp"
            and file.parts[0] in folders
            and (tree.ROOT / file).resolve() not in built
            if not NEEDS_CUDA.search(str(file)) and not stands_in(file)
        ]
        self.assertEqual(forgotten, [])


if __name__ == "__main__":
    unittest.main()
