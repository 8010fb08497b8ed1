"""C++ is formatted by the pinned clang-format, Python by the pinned ruff."""

import subprocess
import unittest

import tree


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True)


class Formatting(unittest.TestCase):
    def expect_clean(self, *command: str) -> None:
        done = run(*command)
        self.assertEqual(done.returncode, 0, f"scripts/lint --fix repairs this:\n{done.stdout}{done.stderr}")

    def test_cpp(self):
        files = [str(file) for file in tree.cpp_files()]
        self.expect_clean(str(tree.TOOLS / "clang-format"), "--dry-run", "-Werror", *files)

    def test_python(self):
        files = [str(file) for file in tree.files() if file.suffix == ".py"]
        self.expect_clean(str(tree.TOOLS / "ruff"), "format", "--check", *files)


if __name__ == "__main__":
    unittest.main()
