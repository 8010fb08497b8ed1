"""docker/: workers start by files in a shared folder, bad input gets one error, recipes fit the tree."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class Started(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, *arguments: str, timeout_s: str = "30", **environment: str) -> subprocess.Popen:
        environment = {
            "SLICEREDUCE_START": str(self.folder),
            "SLICEREDUCE_START_TIMEOUT": timeout_s,
            **environment,
        }
        return subprocess.Popen(
            [DOCKER / "worker", *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def refused(self, *arguments: str, **options: str) -> str:
        """The one line of an error."""
        started = self.start(*arguments, **options)
        errors = started.communicate()[1]
        self.assertEqual(started.returncode, 1, errors)
        self.assertEqual(errors.count("\n"), 1, errors)
        return errors

    def test_a_waiting_worker_runs_what_the_agent_hands_over(self):
        waiting = self.start("wait", HOSTNAME="worker1")
        # As mpirun calls ssh: options, the host, and a command whose quotes are meant for a shell there.
        agent = self.start("-x", "worker1", "PATH=/bin:$PATH", ";", 'echo "a  b"', ";", "exit 7")
        self.assertEqual(agent.communicate(), ("", ""))
        self.assertEqual(agent.returncode, 0)
        output, errors = waiting.communicate()
        self.assertEqual((output.splitlines()[-1], errors, waiting.returncode), ("a  b", "", 7))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_call_that_nobody_takes_is_an_error_and_leaves_nothing(self):
        self.assertIn("worker1 did not answer within 1 s", self.refused("worker1", "true", timeout_s="1"))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_worker_that_nobody_calls_ends(self):
        waits = self.refused("wait", timeout_s="1", HOSTNAME="worker1")
        self.assertIn("nobody called worker1 within 1 s", waits)

    def test_bad_input_is_refused(self):
        self.assertIn("no host's name", self.refused("../worker1", "true"))
        self.assertIn("expected 'wait', or HOST and a command", self.refused("-x", "worker1"))
        self.assertIn("expected whole seconds", self.refused("wait", timeout_s="soon"))
        self.assertIn("can't write to /nowhere", self.refused("wait", SLICEREDUCE_START="/nowhere"))


class Built(unittest.TestCase):
    def refused(self, script: str, *arguments: str) -> str:
        done = subprocess.run([DOCKER / script, *arguments], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        return done.stderr

    def test_bad_input_is_refused(self):
        self.assertIn("unknown argument gpu", self.refused("build-images", "gpu"))
        self.assertIn("expected docker, podman or buildah", self.refused("build-images", "--engine", "x"))
        self.assertIn("--base needs a value", self.refused("build-images", "--base"))
        self.assertIn("/nowhere: no such file", self.refused("build-images", "--certificates", "/nowhere"))
        self.assertIn("expected BUILD and FOLDER", self.refused("gather"))
        self.assertIn("build it first", self.refused("gather", "/nowhere", "/nowhere/image"))

    def test_what_is_built_gets_into_an_image(self):
        taken = set(re.findall(r"^!([\w.-]+)$", text(".dockerignore"), re.MULTILINE))
        listed = text("CMakeLists.txt")
        folders = re.search(r"foreach\(folder (.*)\)\n  add_subdirectory", listed)[1].split()
        self.assertLessEqual({*folders, "cmake", "scripts", "CMakeLists.txt", "CMakePresets.json"}, taken)

    def test_both_images_have_the_same_last_stage(self):
        def last_stage(kind: str) -> list[str]:
            lines = text(f"docker/{kind}.Dockerfile").rpartition("\nFROM ")[2].splitlines()
            return [line.removesuffix(" \\") for line in lines if "NVIDIA" not in line]

        self.assertEqual(last_stage("cpu"), last_stage("cuda"))


if __name__ == "__main__":
    unittest.main()
