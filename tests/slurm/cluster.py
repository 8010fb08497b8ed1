"""A Slurm of two nodes on this machine, for as long as a test needs it. Needs root, munge and slurm-wlm."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

NODES = ("n1", "n2")
# srun's PMIx has files in /tmp whose names two nodes on one machine would share. The repository may be in
# there, and has to stay: it is the first argument, and the second an empty folder.
PRIVATE_TMP = """
set -e
mount --bind "$0" "$1"
mount -t tmpfs tmpfs /tmp
mkdir -p "$0"
mount --bind "$1" "$0"
shift
exec "$@"
"""
REPOSITORY = Path(__file__).resolve().parents[2]
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIGURATION = """
ClusterName=slicereduce
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
KillWait=20
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [daemon for daemon in DAEMONS if shutil.which(daemon, path=path) is None]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install munge slurm-wlm"
    if os.geteuid() != 0:
        return "starting Slurm's daemons needs root"
    unshare = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    private = subprocess.run(unshare, capture_output=True, check=False)
    return (
        "" if private.returncode == 0 else "a node's own /tmp needs namespaces, which this container has not"
    )


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


class SlurmCluster:
    def __enter__(self) -> "SlurmCluster":
        # Not in /tmp, of which the second node has its own.
        self.folder = Path(tempfile.mkdtemp(prefix="slicereduce-slurm.", dir="/var/tmp"))
        self.folder.chmod(0o755)
        text = CONFIGURATION.format(host=socket.gethostname(), folder=self.folder, ports=free_ports(3))
        (self.folder / "slurm.conf").write_text(text)
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
        }
        self.daemons: list[subprocess.Popen] = []
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if (self.folder / "slurmctld.pid").exists():
            self._end_jobs()
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(timeout=30)
            daemon.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_jobs(self) -> None:
        """They would outlive the daemons."""
        self.run("scancel", "--user=root")
        until = time.monotonic() + 30
        while self.run("squeue", "--noheader") and time.monotonic() < until:
            time.sleep(0.2)

    def _start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {
            "--key-file": "munge.key",
            "--socket": "munge.sock",
            "--pid-file": "munged.pid",
            "--log-file": "munged.log",
            "--seed-file": "munged.seed",
        }
        options = [f"{option}={self.folder / file}" for option, file in files.items()]
        self._daemon("munged", "--force", "--foreground", *options)
        self._until(lambda: (self.folder / "munge.sock").exists(), "munged does not listen")
        self._daemon("slurmctld", "-D")
        kept = self.folder / "repository"
        kept.mkdir()
        private = ("unshare", "--mount", "sh", "-c", PRIVATE_TMP, str(REPOSITORY), str(kept))
        for number, node in enumerate(NODES):
            self._daemon(*(private if number > 0 else ()), "slurmd", "-D", "-N", node)
        self._until(
            lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D") == "2", "the nodes do not come up"
        )

    def _daemon(self, *command: str) -> None:
        with (self.folder / "daemons.log").open("a") as log:
            daemon = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.daemons.append(daemon)

    def _until(self, condition: object, problem: str) -> None:
        until = time.monotonic() + 60
        while not condition():
            if time.monotonic() > until:
                said = "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))
                raise RuntimeError(f"{problem}\n{said}")
            time.sleep(0.1)

    def run(self, *command: str) -> str:
        """What it printed; nothing where it failed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def submit(self, *command: str, folder: Path) -> int:
        """`sbatch` with these options, from `folder`. The job's number."""
        done = subprocess.run(
            ["sbatch", "--parsable", *command],
            env=self.environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"sbatch: {done.stderr.strip()}")
        return int(done.stdout)

    def job(self, number: int | str) -> dict[str, str]:
        """What Slurm knows of it: JobState, Restarts, ExitCode and so on."""
        return dict(
            re.findall(r"(\w+)=(\S*)", self.run("scontrol", "--oneliner", "show", "job", str(number)))
        )

    def story(self, number: int | str) -> str:
        """Of a job, as Slurm's daemons tell it."""
        lines = [line for path in self.folder.glob("slurm*.log") for line in path.read_text().splitlines()]
        return "\n".join(
            sorted(line for line in lines if re.search(rf"JobId={number}\b|StepId={number}\.", line))
        )

    def wait_for(self, number: int | str, *states: str, timeout: float = 120) -> dict[str, str]:
        until = time.monotonic() + timeout
        while (job := self.job(number)).get("JobState") not in states:
            if time.monotonic() > until:
                raise RuntimeError(f"job {number} is {job}, not {' or '.join(states)}, after {timeout} s")
            time.sleep(0.2)
        return job

    def start_soon(self, number: int | str) -> None:
        """A job that is back in the queue, which Slurm would let wait for two minutes.

        It has a reason to. Until two seconds after a step of the first start, PMIx's socket of it is there.
        One of the second start is called the same, and does not start then: srun's exit code says nothing of
        it. And in the second in which a node was told to end a job it takes no other start of it.
        """
        job = self.wait_for(number, "PENDING")
        left = f"spool-*/stepd.slurm.pmix.{job['JobId']}.*"
        self._until(lambda: not list(self.folder.glob(left)), f"job {number}: {left} stays")
        subprocess.run(
            ["scontrol", "update", f"JobId={number}", "StartTime=now+1"], env=self.environment, check=True
        )
