"""The blocks of commands (```sh) in a page of documentation, and what the comment before each says of it.

  <!-- not run: needs four hosts -->         why a test can't run it
  <!-- run with: --steps 2 -->               options that cut it down, added to each `train` and `bench` in it

A block without a comment is run as it stands. What it prints can stand behind it, whole or in part:

  <!-- printed above -->                     these lines of a ```text block, in this order
"""

import re
import shlex
from dataclasses import dataclass, field

FENCE = re.compile(r"^\s*(`{3,})\s*(\S*)")
MARK = re.compile(r"^\s*<!-- (not run|run with):\s*(.*?)\s*-->\s*$")
PRINTED = "<!-- printed above -->"
# Names of the same language that this would pass over.
OTHER_NAMES = {"bash", "console", "shell", "shell-session", "zsh"}
COMMANDS = {"train", "eval", "plan", "bench", "pack", "inspect", "export"}


class Refused(Exception):
    """A page that is not written as the test needs it."""


@dataclass
class Block:
    line: int  # of the fence, from 1
    text: str
    why_not_run: str | None = None
    options: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)  # lines that a reader is told to expect


def blocks_of(page: str, text: str) -> list[Block]:
    """Raises Refused where a mark belongs to no block or says nothing, or a block never ends."""
    blocks, mark, fence, body, printed = [], None, "", None, False
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            if line.strip() == fence:
                fence, body, printed = "", None, False
            elif body is not None:
                body.append(line)
                blocks[-1].text = "\n".join(body) + "\n"
            elif printed:
                blocks[-1].printed.append(line)
        elif start := FENCE.match(line):
            fence, language = start.groups()
            if language in OTHER_NAMES:
                raise Refused(f"{page}:{number}: blocks of commands are called ```sh, not ```{language}")
            if language == "sh":
                body = []
                blocks.append(Block(number, "", **(mark or {})))
            elif mark:
                raise Refused(f"{page}:{number}: a mark before a block that holds no commands")
            elif printed and (not blocks or blocks[-1].why_not_run or blocks[-1].options):
                raise Refused(f"{page}:{number}: what a block prints that is not run as it stands")
            mark = None
        elif mark:
            raise Refused(f"{page}:{number}: a block of commands has to follow the mark at once")
        elif line.strip() == PRINTED:
            printed = True
        elif printed:
            raise Refused(f"{page}:{number}: what is printed has to follow its mark at once")
        elif found := MARK.match(line):
            kind, value = found.groups()
            if not value:
                raise Refused(f"{page}:{number}: the mark says nothing")
            mark = {"why_not_run": value} if kind == "not run" else {"options": shlex.split(value)}
    if mark or fence or printed:
        raise Refused(f"{page}: ends before a block does")
    return blocks


def calls_of(text: str) -> list[tuple[str, list[str]]]:
    """Each call of the program: its command, and the options that it is given."""
    calls = []
    for line in text.replace("\\\n", " ").splitlines():
        if "slicereduce" not in line and ".sbatch" not in line:
            continue  # it may be part of a text in quotes
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word.endswith(".sbatch"):
                command, rest = "train", words[place + 1 :]
            elif word.rsplit("/", 1)[-1] == "slicereduce" and COMMANDS & set(words[place + 1 :]):
                start = next(i for i in range(place + 1, len(words)) if words[i] in COMMANDS)
                stop = start + (2 if words[start] == "bench" else 1)
                command, rest = " ".join(words[start:stop]), words[stop:]
            else:
                continue
            calls.append((command, [word.split("=")[0] for word in rest if word.startswith("--")]))
    return calls
