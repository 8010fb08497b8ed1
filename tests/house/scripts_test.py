"""Shell scripts pass shellcheck, Python passes ruff, and what is meant to be run can be run."""

import os
import re
import subprocess
import unittest
from pathlib import Path

import tree


def first_line(file: Path) -> str:
    with (tree.ROOT / file).open("rb") as opened:
        return opened.readline(200).decode("utf-8", errors="replace")


def interpreted_by(name: str) -> list[str]:
    """Files whose first line is #!... that ends in `name`."""
    return [str(file) for file in tree.files() if re.match(rf"#!.*\b{name}$", first_line(file).strip())]


class Scripts(unittest.TestCase):
    def expect_clean(self, *command: str) -> None:
        done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}")

    def test_shell(self):
        scripts = interpreted_by("bash") + interpreted_by("sh")
        self.assertIn("scripts/setup", scripts)
        self.expect_clean("shellcheck", *scripts)

    def test_python(self):
        files = [str(file) for file in tree.files() if file.suffix == ".py"] + interpreted_by("python3")
        self.expect_clean(str(tree.TOOLS / "ruff"), "check", *files)

    def test_what_has_an_interpreter_is_executable(self):
        idle = [
            str(file)
            for file in tree.files()
            if first_line(file).startswith("#!") and not os.access(tree.ROOT / file, os.X_OK)
        ]
        self.assertEqual(idle, [])

    def test_each_says_how_to_call_it(self):
        """And does nothing else then."""
        commands = [
            str(file)
            for file in tree.files()
            if file.parts[0] in {"scripts", "docker"}
            and first_line(file).startswith("#!")
            and file.suffix != ".sbatch"
        ]
        self.assertIn("scripts/slurm/until-done", commands)
        for command in commands:
            with self.subTest(command):
                done = subprocess.run(
                    [str(tree.ROOT / command), "--help"], capture_output=True, text=True, timeout=60
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(done.stdout, r"^[Uu]sage: \S")


if __name__ == "__main__":
    unittest.main()
