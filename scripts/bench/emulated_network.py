"""Hosts on one machine, joined by links of a given rate: what a benchmark of communication runs on.

Each host has a network with one interface to a common bridge, and a host name, name resolution and /dev/shm
of its own, so that MPI and gloo take it for a machine. Links are limited on both ends by a token bucket.
Needs root and iproute2.

All of it hangs on one process, the first of a PID namespace: when that ends, the kernel ends every other
process of the run, and with them go hosts and links, none of which has a name outside. It ends when the
context does, and also when this program is killed: it reads from a pipe whose only writer is here. So a
killed run leaves nothing behind, and runs at the same time don't see each other.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

SUBNET = "10.77.0"
UNLIMITED = "none"  # a rate
UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
PACKAGES = {"iproute2": ("ip", "tc"), "util-linux": ("nsenter", "setsid", "taskset", "unshare")}

# The first process of a run, in the namespaces that hold the bridge. Bash because it reaps what mpirun's
# daemons leave to it.
KEEPER = "mount -t tmpfs tmpfs /dev/shm && echo ready && read -r"
# Where the run's own files are, as its processes see them: hosts hide them under a /dev/shm of their own.
FILES = "/proc/1/root/dev/shm"

# Makes a host of new namespaces, and leaves a process that keeps them. Name resolution asks nobody: mpirun
# waits half a minute for a name server that isn't there.
HOST = """
set -e
hostname "$0"
ip link set lo up
mount --bind /dev/shm/hosts /etc/hosts
if [ -e /etc/resolv.conf ]; then mount --bind /dev/shm/no_name_servers /etc/resolv.conf; fi
sleep infinity < /dev/null > /dev/null 2>&1 &
echo $! > "/dev/shm/$0.pid"
mount -t tmpfs tmpfs /dev/shm
"""


# Runs a command on the host. Cores of its own, as far as there are any: two ranks on one core and none on
# another is what no network has.
ENTER = """#!/bin/sh
exec taskset --cpu-list {cores} nsenter --target {pid} --net --uts --mount "$@"
"""

# What mpirun calls in place of ssh, with options, host and command. Unlike ssh it hands on the environment.
REMOTE_SHELL = f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
exec "{FILES}/$host" sh -c "$*"
"""


def bits_per_s(rate: str) -> float:
    """Of a rate as tc writes it: 100mbit, 1gbit."""
    for unit, factor in UNITS.items():
        number = rate.removesuffix(unit)
        if number != rate and number.replace(".", "", 1).isdigit() and float(number) > 0:
            return float(number) * factor
    raise ValueError(f"rate '{rate}': expected a number and kbit, mbit or gbit, as in 100mbit, or none")


def cores_of(number: int, hosts: int) -> str:
    """An even share of the cores that this program may use, as taskset writes it."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // hosts)
    return ",".join(str(cores[(number * share + core) % len(cores)]) for core in range(share))


def require_tools() -> None:
    for package, tools in PACKAGES.items():
        if missing := [tool for tool in tools if shutil.which(tool) is None]:
            raise RuntimeError(f"{' and '.join(missing)} not found: apt-get install {package}")
    if os.geteuid() != 0:
        raise RuntimeError("network namespaces need root: run this as root")


def start(
    command: list[str], environment: Mapping[str, str], capture_output: bool = False, **options: object
) -> subprocess.Popen:
    """In a session of its own, so that Ctrl-C reaches this program alone."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **options
    )


def end(processes: list[subprocess.Popen]) -> None:
    """Kills what an nsenter has started, with its process group, and leaves nsenter to reap it.

    Otherwise that would be the machine's first process's business, which takes its time in some containers
    and never does it in others. The PID namespace can't end before.
    """
    for process in processes:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids = [int(pid) for pid in children.read_text().split()]
            if not pids:
                process.kill()  # it has not come to its command, or has ended
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)


def run_together(processes: list[subprocess.Popen], timeout: float | None) -> subprocess.CompletedProcess:
    """Until all have ended. Once one has failed, or after `timeout` seconds, the others are ended.

    The result is that of the first to fail or, where none has, of the first in the list.
    """
    with ThreadPoolExecutor(len(processes)) as pool:
        outputs = {pool.submit(process.communicate): process for process in processes}
        shown = next(iter(outputs))
        try:
            for output in as_completed(outputs, timeout):
                if outputs[output].returncode != 0:
                    shown = output
                    break
        except TimeoutError:
            raise subprocess.TimeoutExpired(processes[0].args, timeout) from None
        finally:
            end(processes)
    process = outputs[shown]
    return subprocess.CompletedProcess(process.args, process.returncode, *shown.result())


class EmulatedNetwork:
    """`hosts` hosts named h1, h2 and so on; `rate` as tc writes it, or UNLIMITED."""

    def __init__(self, hosts: int, rate: str) -> None:
        if not 1 <= hosts <= 254:
            raise ValueError(f"{hosts} hosts: expected 1 to 254")
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        self.rate = None if rate == UNLIMITED else rate
        if self.rate:
            bits_per_s(self.rate)
        self.port = 29500

    def __enter__(self) -> "EmulatedNetwork":
        require_tools()
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.keeper = subprocess.Popen(
            [*unshare, "bash", "-c", KEEPER], text=True, start_new_session=True, **pipes
        )
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # unshare ends after the keeper, and the kernel lets the keeper end after all other processes.
        self.keeper.communicate(timeout=30)

    def address(self, host: str) -> str:
        return f"{SUBNET}.{self.hosts.index(host) + 1}"

    def _build(self) -> None:
        if self.keeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"no namespaces for the network: {self.keeper.stderr.read().strip()}")
        self.files = Path(f"/proc/{self.keeper.pid}/root/dev/shm")  # FILES, from outside
        # PyTorch's sockets have IPv6 addresses, and it warns where these have no name.
        both = [(kind, host) for kind in ("", "::ffff:") for host in self.hosts]
        names = "".join(f"{kind}{self.address(host)} {host}\n" for kind, host in both)
        (self.files / "hosts").write_text("127.0.0.1 localhost\n" + names)
        (self.files / "no_name_servers").touch()
        self._write_script("remote_shell", REMOTE_SHELL)
        self._run("ip", "link", "add", "bridge", "type", "bridge")
        self._run("ip", "link", "set", "bridge", "up")
        for number, host in enumerate(self.hosts):
            self._run("unshare", "--net", "--uts", "--mount", "sh", "-c", HOST, host)
            pid = (self.files / f"{host}.pid").read_text().strip()
            self._write_script(host, ENTER.format(cores=cores_of(number, len(self.hosts)), pid=pid))
            self._connect(host, pid)

    def _write_script(self, name: str, text: str) -> None:
        (self.files / name).write_text(text)
        (self.files / name).chmod(0o755)

    def _connect(self, host: str, pid: str) -> None:
        inside = [f"{FILES}/{host}"]
        self._run("ip", "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", pid)
        self._run("ip", "link", "set", host, "master", "bridge")
        self._run(*inside, "ip", "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        for where, device in (([], host), (inside, "eth0")):
            self._run(*where, "ip", "link", "set", device, "up")
            if self.rate:
                self._limit(where, device)

    def _limit(self, where: list[str], device: str) -> None:
        # What passes unlimited after a pause flatters small messages. With 64 KiB, a message of 64 KiB takes
        # 0.4 ms at 100mbit; with 16 KiB it takes 4.3, of 5.2 without any burst. Packets, which the kernel
        # makes larger than frames, have to fit into it: cutting them in the queue cost a fifth of 1gbit.
        # 0.25 ms: with less, 1gbit took a core (two AMD EPYC cores of Zen 4 class).
        burst = max(16 * 1024, int(bits_per_s(self.rate) / 8 * 0.25e-3))
        packet = min(burst // 2, 64 * 1024)
        bucket = ("tbf", "rate", self.rate, "burst", str(burst), "latency", "50ms")
        self._run(*where, "ip", "link", "set", device, "gso_max_size", str(packet))
        self._run(*where, "tc", "qdisc", "add", "dev", device, "root", *bucket)

    def cut(self, host: str) -> None:
        """Its link carries nothing any more, and says so to nobody: the other end stays up."""
        self._run("ip", "link", "set", host, "nomaster")

    def mend(self, host: str) -> None:
        self._run("ip", "link", "set", host, "master", "bridge")

    def _inside(self, command: list[str]) -> list[str]:
        """The command line that runs `command` in the namespaces of the keeper."""
        keeper = self.keeper.pid
        pids = f"--pid=/proc/{keeper}/ns/pid_for_children"  # unshare itself is not in them
        return ["nsenter", "--target", str(keeper), "--net", "--mount", pids, *command]

    def _run(self, *command: str) -> None:
        done = subprocess.run(self._inside([*command]), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")

    def on(self, host: str, command: list[str]) -> list[str]:
        """The command line that runs `command` there, in this folder and with a process group of its own."""
        here = ["env", f"--chdir={os.getcwd()}"]
        return self._inside([f"{FILES}/{host}", "setsid", *here, *command])

    def mpirun_options(self, ranks_per_host: int = 1) -> list[str]:
        """mpirun, on the first host, and what it needs to know of the network."""
        ranks = ",".join(f"{host}:{ranks_per_host}" for host in self.hosts)
        subnet = f"{SUBNET}.0/24"
        parameters = {
            "plm": "rsh",
            "plm_rsh_agent": f"{FILES}/remote_shell",
            "plm_rsh_no_tree_spawn": "1",
            # Not /tmp, which the hosts share with each other and with other runs.
            "orte_tmpdir_base": "/dev/shm",
            "oob_tcp_if_include": subnet,
            # Without these a cut link hangs mpirun for minutes.
            "oob_tcp_keepalive_time": "3",
            "oob_tcp_keepalive_intvl": "1",
            "oob_tcp_keepalive_probes": "3",
            "pml": "ob1",
            "btl": "self,vader,tcp",
            "btl_tcp_if_include": subnet,
            "mpi_yield_when_idle": "1",
        }
        line = ["mpirun", "--host", ranks, "--bind-to", "none"]
        for name, value in parameters.items():
            line += ["--mca", name, value]
        return line

    def mpirun_line(
        self, command: list[str], environment: Mapping[str, str] | None = None, ranks_per_host: int = 1
    ) -> list[str]:
        line = [*self.mpirun_options(ranks_per_host), "-np", str(ranks_per_host * len(self.hosts))]
        for name in environment or {}:
            line += ["-x", name]
        return self.on(self.hosts[0], line + command)

    def mpirun(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        ranks_per_host: int = 1,
        timeout: float | None = None,
        **options: object,
    ) -> subprocess.CompletedProcess:
        """Runs `command` on all hosts under mpirun, with `environment` added to this program's.

        `options` are those of subprocess.run, such as capture_output and text.
        """
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        line = self.mpirun_line(command, environment, ranks_per_host)
        return run_together([start(line, os.environ | root | (environment or {}), **options)], timeout)

    def each(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: object,
    ) -> subprocess.CompletedProcess:
        """Runs `command` once on each host, as torch.distributed's env:// wants it.

        The result is the first host's or, where one fails, that host's: the others are then ended. `options`
        are those of subprocess.run, such as capture_output and text.
        """
        self.port += 1  # the last one may still be in use by connections that are being closed
        common = {"OMP_NUM_THREADS": "1"} | os.environ | (environment or {})
        lines = [(self.on(host, command), common | self._place(host)) for host in self.hosts]
        return run_together([start(*line, **options) for line in lines], timeout)

    def _place(self, host: str) -> dict[str, str]:
        return {
            "RANK": str(self.hosts.index(host)),
            "WORLD_SIZE": str(len(self.hosts)),
            "MASTER_ADDR": self.address(self.hosts[0]),
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "eth0",
            "NCCL_SOCKET_IFNAME": "eth0",
        }
