"""The program's commands and their options, as --help tells them.

Needs the program's path in SLICEREDUCE.
"""

import functools
import os
import re
import subprocess

# "-b,--batch-size INT=32      Images a worker": a type is one blank behind the name, a flag's text more.
# A list's values are followed by three dots.
HELP_OPTION = re.compile(
    r"^ {2}(?:-\w,)?(--[a-z][a-z-]*)(?: ([A-Z]+)(?:=(\S+(?: \S+)*(?= \.\.\.)|\S+))?( REQUIRED)?)?(?:\s|$)"
)
COMMANDS = [
    "train",
    "eval",
    "plan",
    "bench allreduce",
    "bench step",
    "bench loader",
    "pack",
    "inspect",
    "export",
    "completion",
]


def options_of_help(text: str) -> dict[str, str]:
    """Each option's default, as docs/options.md has it."""
    options = {}
    for match in filter(None, map(HELP_OPTION.match, text.splitlines())):
        name, kind, default, required = match.groups()
        if kind is None:
            options[name] = "off"  # a flag
        elif required:
            options[name] = "required"
        elif kind == "BOOLEAN":
            options[name] = {"0": "false", "1": "true"}[default]
        else:
            options[name] = (default or "none").replace(" ", ",")
    options.pop("--help", None)
    return options


@functools.cache
def program_help(command: str) -> str:
    done = subprocess.run(
        [os.environ["SLICEREDUCE"], *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout
