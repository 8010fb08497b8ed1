"""README and docs/ are true to the tree and to the program: links resolve, options and defaults are --help's.

Needs the program's path in SLICEREDUCE.
"""

import re
import unittest
from pathlib import Path

import tree
from program_help import COMMANDS, options_of_help, program_help

# Inline code first, so that what it holds is no link; then [text](target) and ![text](target).
LINK = re.compile(r"`[^`]*`|\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$")
OPTION = re.compile(r"`(--[a-z][a-z-]*)`")
# Groups of options that several commands share, documented once.
SHARED = {"plan": ["Network and sampling"], "bench step": ["Network and sampling", "Step"]}
TRAIN = ["Data", "Network and sampling", "Step", "Run", "Tests"]


def pages() -> list[Path]:
    return [file for file in tree.files() if file.suffix == ".md" and str(file.parent) in {".", "docs"}]


def prose(text: str) -> list[str]:
    """The lines outside of fenced code."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append(line)
    return lines


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(match[1]) for line in prose(text) if (match := HEADING.match(line))}


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of `page`, whose text is `text`, that lead nowhere."""
    there = {tree.ROOT / place for file in tree.files() for place in (file, *file.parents)}
    broken = []
    for target in (match[1] for line in prose(text) for match in LINK.finditer(line)):
        if target is None or re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (tree.ROOT / page.parent / name).resolve()
        if name and file not in there:
            broken.append(f"{page}: {target}: no such file")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8") if name else text):
            broken.append(f"{page}: {target}: no such heading")
    return broken


def options_of_page(text: str) -> dict[str, dict[str, str]]:
    """By heading: each option of the tables below it, and its default."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in prose(text):
        if heading := HEADING.match(line):
            section = sections.setdefault(heading[1], {})
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for name in OPTION.findall(cells[0]):
                section[name] = cells[1]
    return sections


class Links(unittest.TestCase):
    def test_relative_links_resolve(self):
        self.assertIn(Path("README.md"), pages())
        broken = [link for page in pages() for link in broken_links(page, tree.text(page))]
        self.assertEqual(broken, [])

    def test_the_check_sees_broken_links(self):
        page = Path("docs/a.md")
        for text in ("[x](nowhere.md)", "![x](images/none.svg)", "[x](#none)", "[x](../README.md#none)"):
            self.assertEqual(len(broken_links(page, f"# Some heading\n{text}")), 1, text)
        for text in ("[x](../README.md)", "[x](#some-heading)", "[x](https://example.org/x)", "`[x](y)`"):
            self.assertEqual(broken_links(page, f"# Some heading\n{text}"), [], text)
        self.assertEqual(broken_links(page, "```\n[x](nowhere.md)\n```"), [])


class Options(unittest.TestCase):
    maxDiff = None

    def test_every_command_is_documented_as_it_is(self):
        sections = options_of_page(tree.text(Path("docs/options.md")))
        for command in COMMANDS:
            with self.subTest(command=command):
                documented: dict[str, str] = {}
                for heading in TRAIN if command == "train" else [command, *SHARED.get(command, [])]:
                    documented |= sections[heading]
                self.assertEqual(documented, options_of_help(program_help(command)))

    def test_the_commands_are_those_of_the_program(self):
        listed = re.findall(r"^ {2}([a-z]+) ", program_help("").partition("Subcommands:")[2], re.MULTILINE)
        self.assertEqual(set(listed), {command.split()[0] for command in COMMANDS})

    def test_help_is_read_as_it_is_meant(self):
        text = (
            "  -h,--help                   Print\n  -b,--batch-size INT=32      Images\n"
            "  --data TEXT REQUIRED        Folder\n  --nesterov                  JSON or not\n"
            "  --seed UINT                 Of all\n  --decay-vectors BOOLEAN=1   Whether\n"
            "  --on-disagreement TEXT=error\n                              error, or --x\n"
        )
        expected = {
            "--batch-size": "32",
            "--data": "required",
            "--nesterov": "off",
            "--seed": "none",
            "--decay-vectors": "true",
            "--on-disagreement": "error",
        }
        self.assertEqual(options_of_help(text), expected)


if __name__ == "__main__":
    unittest.main()
