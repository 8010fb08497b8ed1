"""scripts/api-reference makes pages of the headers, and doxygen has nothing to say against their comments."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import program

LIBRARIES = ("core", "sampling", "comm", "imagenet", "models")


@unittest.skipUnless(shutil.which("doxygen"), "doxygen is not installed")
class Reference(unittest.TestCase):
    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())) / "checkout"
        for folder in (*LIBRARIES, "docs/api"):
            shutil.copytree(program.REPOSITORY / folder, self.root / folder)
        (self.root / "scripts").mkdir()
        shutil.copy(program.REPOSITORY / "scripts/api-reference", self.root / "scripts")

    def run_script(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.root / "scripts/api-reference", *options], capture_output=True, text=True)

    def test_has_a_page_of_each_class_that_one_begins_with(self):
        done = self.run_script()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        pages = self.root / "build/api/html"
        start = (pages / "index.html").read_text()
        for name in ("Sampler", "Planner", "Network", "Communicator", "Reducer", "Loader", "Error"):
            page = f"classslicereduce_1_1{name}.html"
            self.assertIn(page, start)
            self.assertIn(f"slicereduce::{name}", (pages / page).read_text())

    def test_goes_where_it_is_told_to(self):
        folder = self.root / "a folder"
        done = self.run_script("--out", str(folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((folder / "html/index.html").is_file())
        self.assertFalse((self.root / "build").exists())

    def test_a_comment_that_doxygen_does_not_understand_is_an_error(self):
        header = self.root / "sampling/plan.hpp"
        header.write_text(header.read_text().replace("/// Keeps everything", "/// \\nonsense everything"))
        done = self.run_script()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("sampling/plan.hpp", done.stderr)
        self.assertIn("nonsense", done.stderr)


if __name__ == "__main__":
    unittest.main()
