"""Hosts of an emulated network are hosts, and nothing of them outlives the script that made them."""

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NETWORK = [sys.executable, str(ROOT / "scripts/bench/network")]
# What a network is made of, without the script that is tested.
PROBE = (
    "ip link add one type veth peer name other && ip link add both type bridge && "
    "tc qdisc add dev one root tbf rate 1mbit burst 16kb latency 50ms"
)


def why_not() -> str:
    """What is missing for networks on this machine, if anything."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := [tool for tool in ("ip", "tc", "unshare", "nsenter") if shutil.which(tool) is None]:
        return f"needs {', '.join(missing)} (iproute2, util-linux)"
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run([*unshare, "sh", "-c", PROBE], capture_output=True, text=True)
    return f"needs namespaces and traffic control: {done.stderr.strip()}" if done.returncode != 0 else ""


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*NETWORK, *arguments], capture_output=True, text=True, timeout=120)


def running(*command: str) -> int:
    """Processes on this machine, in whatever namespace, with this command line."""
    wanted = b"\0".join(part.encode() for part in command) + b"\0"
    count = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += file.read_bytes() == wanted
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@unittest.skipIf(why_not(), why_not())
class EmulatedNetwork(unittest.TestCase):
    def test_each_host_has_a_name_and_a_rank(self):
        done = run(
            "--hosts", "3", "--rate", "none", "--each", "--", "sh", "-c", "echo $(hostname) $RANK $WORLD_SIZE"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(done.stdout.splitlines()), ["h1 0 3", "h2 1 3", "h3 2 3"])

    def test_a_link_carries_no_more_than_its_rate(self):
        done = run("--hosts", "2", "--rate", "20mbit", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        mbit = float(done.stdout.split()[0])
        self.assertLessEqual(mbit, 20)
        self.assertGreater(mbit, 2)

    def test_a_host_that_fails_ends_the_others(self):
        script = "if [ $RANK = 1 ]; then exit 7; fi; exec sleep 300.25"
        done = run("--hosts", "2", "--rate", "none", "--each", "--", "sh", "-c", script)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertEqual(running("sleep", "300.25"), 0)

    def test_a_kill_leaves_nothing(self):
        command = ("sleep", "300.75")
        network = subprocess.Popen([*NETWORK, "--hosts", "2", "--rate", "1gbit", "--each", "--", *command])
        try:
            self.assertTrue(eventually(lambda: running(*command) == 2))
        finally:
            network.send_signal(signal.SIGKILL)
            network.wait()
        self.assertTrue(eventually(lambda: running(*command) == 0), "what ran on the hosts still runs")
        links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("bridge", links)

    def test_a_rate_that_is_none_is_refused(self):
        done = run("--hosts", "2", "--rate", "fast", "--check")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("rate 'fast'", done.stderr)


if __name__ == "__main__":
    unittest.main()
