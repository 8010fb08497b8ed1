"""A run that is broken at a place of our choice: what the tests of faults share.

Needs the environment of tests/launcher/program.py, and that folder in PYTHONPATH.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from program import ENVIRONMENT, PROGRAM, REPOSITORY, mpirun, run, write_idx

sys.path.append(str(REPOSITORY / "scripts" / "bench"))
from emulated_network import EmulatedNetwork

TIMEOUT_S = 3  # of the run
# Where a link is cut it has to be longer than mpirun's keepalive takes, 6 s: what the watchdog makes mpirun
# send would keep it from noticing.
LINK_TIMEOUT_S = 8
GRACE_S = 5  # for mpirun to end what is left
MOST_S = 90  # that a run may take which should have ended
STEPS = 20
# Ten steps an epoch, whatever the number of workers.
TRAINING = (
    *("--arch", "resnet20", "--batch-size", "16", "--global-batch-size", "32", "--lr", "0.05"),
    *(
        "--mode",
        "compact",
        "--steps",
        str(STEPS),
        "--seed",
        "3",
        "--checkpoint-every",
        "5",
        "--log-every",
        "1",
    ),
    *(
        "--hierarchy",
        "off",
    ),  # two levels make other sums, and there are none where a run is resumed on one host
)
PLACES = {
    "start-up": "start",
    "first step": "step1",
    "mid-epoch": "step7",
    "checkpoint": "checkpoint",
    "evaluation": "evaluation",
}
FAULTS = {"kill -9": "kill", "exception": "error", "SIGSTOP": "stop"}
LINK_DOWN = "link down"
HELD_MS = 30_000  # there, while its link is cut


class Cell(NamedTuple):
    fault: str
    place: str
    rank: int
    ranks: int

    def describe(self) -> str:
        return f"{self.fault} at {self.place} of rank {self.rank} of {self.ranks}"

    def inject(self) -> str:
        fault = FAULTS.get(self.fault, f"slow:{HELD_MS}ms")
        return f"{fault}@rank{self.rank}:{PLACES[self.place]}"

    def timeout_s(self) -> int:
        return LINK_TIMEOUT_S if self.fault == LINK_DOWN else TIMEOUT_S

    def host(self) -> str:
        """On two emulated hosts."""
        return "h1" if self.rank < self.ranks // 2 else "h2"

    def names_culprit(self, said: str) -> bool:
        if self.fault == LINK_DOWN:
            # mpirun runs on the first host, and so the other one is what it, and rank 0, miss.
            return re.search(r"(\brank \d+ on|Remote daemon: \S+ on node) h2\b", said) is not None
        return re.search(rf"\brank {self.rank} (on|with PID)", said) is not None


def all_cells() -> list[Cell]:
    return [
        Cell(fault, place, rank, ranks)
        for ranks in (2, 4)
        for fault in (*FAULTS, LINK_DOWN)
        for place in PLACES
        for rank in (0, ranks - 1)
    ]


class Verdict(NamedTuple):
    code: int
    seconds: float  # from the fault until no process of the run is left
    said: str
    resumed: bool  # to the undisturbed run's weights

    def problem(self, cell: Cell) -> str:
        """Empty where all is as it should be."""
        if self.code in (0, 2, 3):
            return f"exit code {self.code}"
        if self.seconds > cell.timeout_s() + GRACE_S:
            return f"took {self.seconds:.1f} s"
        if not cell.names_culprit(self.said):
            return "the culprit is not named"
        return "" if self.resumed else "resumed, it came to other weights"


def resilient(network: EmulatedNetwork, ranks: int, command: list[str]) -> list[str]:
    """Started once. mpirun alone may hang: what it sends to a host that is gone keeps it from noticing."""
    mpirun_line = shlex.join(network.mpirun_options(ranks // 2))
    options = ["--np", str(ranks), "--max-restarts", "0", "--grace", "3", "--mpirun", mpirun_line]
    return network.on("h1", [str(REPOSITORY / "scripts" / "run-resilient"), *options, "--", *command])


class Runs:
    """Of one dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        write_idx(self.data, "train", 320, 1)
        write_idx(self.data, "t10k", 51, 2)
        self.digests: dict[int, str] = {}

    def command(self, run_dir: Path, *more: str) -> list[str]:
        return [PROGRAM, "train", "--data", str(self.data), "--run-dir", str(run_dir), *TRAINING, *more]

    def metrics(self, run_dir: Path) -> list[dict]:
        return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]

    def digest(self, ranks: int, run_dir: Path, *more: str) -> str:
        """Of the weights to which a run comes that goes on from what is there."""
        done = run([*mpirun(ranks), *self.command(run_dir, *more)], timeout=600)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return json.loads((run_dir / "summary.json").read_text())["weights_digest"]

    def undisturbed(self, ranks: int) -> str:
        if ranks not in self.digests:
            self.digests[ranks] = self.digest(ranks, self.folder / f"undisturbed-{ranks}")
        return self.digests[ranks]

    def disturb(self, cell: Cell) -> Verdict:
        if cell.fault == LINK_DOWN:
            with EmulatedNetwork(2, "none") as network:
                return self._disturb(
                    cell,
                    lambda command: resilient(network, cell.ranks, command),
                    lambda: network.cut(cell.host()),
                )
        return self._disturb(cell, lambda command: [*mpirun(cell.ranks), *command], lambda: None)

    def _disturb(
        self, cell: Cell, line_of: Callable[[list[str]], list[str]], strike: Callable[[], None]
    ) -> Verdict:
        run_dir = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        fault = ("--inject", cell.inject(), "--allow-inject", "--timeout", str(cell.timeout_s()))
        line = line_of(self.command(run_dir, *fault))
        struck = float("-inf")
        said = []
        with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
            hangs = threading.Timer(MOST_S, running.kill)  # and is a verdict too
            hangs.start()
            for text in running.stderr:
                said.append(text)
                if "--inject" in text and struck < 0:
                    strike()
                    struck = time.monotonic()
            code = running.wait()
            hangs.cancel()
        while processes_of(run_dir) and time.monotonic() < struck + MOST_S:
            time.sleep(0.05)
        seconds = time.monotonic() - struck
        kill_all(run_dir)
        resumed = self.digest(cell.ranks, run_dir) == self.undisturbed(cell.ranks)
        return Verdict(code, seconds, "".join(said), resumed)


def kill_all(run_dir: Path) -> None:
    """What should not be there any more."""
    for process in processes_of(run_dir):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def processes_of(run_dir: Path) -> list[int]:
    """The workers of the run that writes there, on all hosts of this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it is gone
        if line.startswith(PROGRAM.encode()) and str(run_dir).encode() in line:
            found.append(int(process.name))
    return found
