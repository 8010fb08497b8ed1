"""Code that a page takes `<!-- from FILE -->` is in FILE, line for line: the examples are built and run
(tests/package), so what a reader copies works."""

import re
import textwrap
import unittest
from pathlib import Path

import tree

FROM = re.compile(r"^<!-- from (\S+) -->$")
# Languages of which a block stands for a file's text; a page says where it is from, or that it is a sketch.
CODE = {"cpp", "cmake"}


def excerpts(text: str) -> list[tuple[str | None, str]]:
    """Each block of code in a page: the file that it is said to be from, and its text."""
    found, source, block = [], None, None
    for line in text.splitlines():
        if block is not None:
            if line == "```":
                found.append((source, "\n".join(block)))
                source, block = None, None
            else:
                block.append(line)
        elif mark := FROM.match(line):
            source = mark[1]
        elif line.startswith("```") and line[3:] in CODE:
            block = []
        elif source:
            found.append((source, ""))  # a mark without a block: no file has an excerpt of nothing
            source = None
    return found


def wrong_excerpts(page: str, text: str) -> list[str]:
    wrong = []
    for source, block in excerpts(text):
        if source is None:
            wrong.append(f"{page}: a block of code does not say which file it is from: {block[:60]!r}")
        elif not (tree.ROOT / source).is_file():
            wrong.append(f"{page}: {source}: no such file")
        elif not block or not is_in(block, tree.text(Path(source))):
            wrong.append(f"{page}: not in {source}: {block[:60]!r}")
    return wrong


def is_in(block: str, text: str) -> bool:
    """Whole lines of it, at any depth."""
    wanted = textwrap.dedent(block).splitlines()
    lines = text.splitlines()
    return any(
        textwrap.dedent("\n".join(lines[start : start + len(wanted)])).splitlines() == wanted
        for start in range(len(lines) - len(wanted) + 1)
    )


class Excerpts(unittest.TestCase):
    def test_are_what_the_files_have(self):
        pages = [file for file in tree.files() if file.suffix == ".md"]
        taken = [source for page in pages for source, _ in excerpts(tree.text(page))]
        for example in ("sampler.cpp", "model.cpp", "shared_memory_communicator.cpp"):
            self.assertIn(f"examples/{example}", taken)
        self.assertEqual([w for page in pages for w in wrong_excerpts(str(page), tree.text(page))], [])

    def test_the_check_sees_what_is_wrong(self):
        line = tree.text(Path("examples/sampler.cpp")).splitlines()[1]
        good = f"<!-- from examples/sampler.cpp -->\n```cpp\n{line}\n```"
        self.assertEqual(wrong_excerpts("p", good), [])
        for text in (
            good.replace(line, line + " "),
            good.replace(line, line[1:]),
            good.replace("sampler.cpp", "none.cpp"),
            good.replace(f"{line}\n", ""),
            good.replace("```cpp", "text\n```cpp"),
            f"```cpp\n{line}\n```",
        ):
            self.assertNotEqual(wrong_excerpts("p", text), [], text)


if __name__ == "__main__":
    unittest.main()
