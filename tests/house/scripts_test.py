"""Shell scripts pass shellcheck, Python passes ruff, and what is meant to be run can be run, and says how."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree

# They take what ctest and `slicereduce train` take.
HAND_ALL_ON = {"scripts/quickstart", "scripts/test"}
# Enough to say something, and nothing that installs, builds or trains.
HARMLESS = ("bash", "cat", "dirname", "env", "sed")


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

    def called_with(self, argument: str, scripts: list[str]) -> dict[str, subprocess.CompletedProcess]:
        """By script, each called from elsewhere."""
        with tempfile.TemporaryDirectory(prefix="slicereduce.") as folder:
            programs = Path(folder) / "programs"
            programs.mkdir()
            for name in HARMLESS:
                (programs / name).symlink_to(shutil.which(name))
            (programs / "python3").symlink_to(Path(sys.executable).resolve())
            environment = {"PATH": str(programs), "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"}

            def call(script: str) -> subprocess.CompletedProcess:
                return subprocess.run(
                    [tree.ROOT / script, argument],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )

            with ThreadPoolExecutor(2) as pool:
                return dict(zip(scripts, pool.map(call, scripts), strict=True))

    def test_each_says_how_to_call_it(self):
        """And does nothing else then. A batch file is for sbatch, and .ci/ for machines."""
        scripts = [
            script
            for script in interpreted_by("bash") + interpreted_by("python3")
            if not script.endswith(".sbatch") and not script.startswith(".")
        ]
        self.assertLessEqual({"scripts/setup", "scripts/report", "scripts/slurm/until-done"}, set(scripts))
        for script, done in self.called_with("--help", scripts).items():
            with self.subTest(script=script):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(done.stdout, rf"^[Uu]sage: (exec )?(?:.*/)?{Path(script).name}\b")

    def test_each_refuses_an_unknown_option_in_one_line(self):
        scripts = [
            script
            for script in interpreted_by("bash") + interpreted_by("python3")
            if script.startswith("scripts/") and not script.endswith(".sbatch") and script not in HAND_ALL_ON
        ]
        for script, done in self.called_with("--no-such-option", scripts).items():
            with self.subTest(script=script):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertRegex(done.stderr, rf"\A{script}( [a-z]+)?: .*\(see {script} --help\)\n\Z")

    def test_what_has_an_interpreter_is_executable(self):
        idle = [
            str(file)
            for file in tree.files()
            if first_line(file).startswith("#!") and not os.access(tree.ROOT / file, os.X_OK)
        ]
        self.assertEqual(idle, [])


if __name__ == "__main__":
    unittest.main()
