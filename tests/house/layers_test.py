"""Arrows point down only: no folder includes from one above or beside it (docs: the design's table)."""

import re
import unittest
from pathlib import Path

import tree

MAY_USE = {
    "core": set(),
    "sampling": {"core"},
    "comm": {"core"},
    "imagenet": {"core"},
    "models": {"sampling", "core"},
    "launcher": {"models", "imagenet", "comm", "sampling", "core"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([a-z_]+)/([^">]+)[">]', re.MULTILINE)


def wrong_includes(file: Path, code: str) -> list[str]:
    """The includes of `code`, the text of `file`, that its folder must not have."""
    folder = file.parts[0]
    if folder not in MAY_USE:
        return []
    return [
        f"{file}: {target}/{rest}"
        for target, rest in INCLUDE.findall(code)
        if (target in MAY_USE or target == "tests") and target not in MAY_USE[folder] | {folder}
    ]


class Layers(unittest.TestCase):
    def test_no_include_points_up_or_sideways(self):
        wrong = [edge for file in tree.cpp_files() for edge in wrong_includes(file, tree.text(file))]
        self.assertEqual(wrong, [])

    def test_the_folders_are_those_of_the_table(self):
        for folder in MAY_USE:
            self.assertTrue((tree.ROOT / folder / "CMakeLists.txt").exists(), folder)

    def test_the_check_sees_up_sideways_and_tests(self):
        for code in (
            '#include "comm/wire.hpp"',
            "#include <models/network.hpp>",
            '# include "tests/support/x.hpp"',
        ):
            self.assertEqual(len(wrong_includes(Path("sampling/plan.cpp"), code)), 1, code)
        for code in ('#include "core/error.hpp"', '#include "sampling/plan.hpp"', "#include <torch/nn.h>"):
            self.assertEqual(wrong_includes(Path("sampling/plan.cpp"), code), [], code)

    def test_headers_have_include_guards(self):
        bare = [
            str(file)
            for file in tree.cpp_files()
            if file.suffix in {".hpp", ".cuh"} and "#pragma once" not in tree.text(file).splitlines()
        ]
        self.assertEqual(bare, [])


if __name__ == "__main__":
    unittest.main()
