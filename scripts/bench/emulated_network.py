"""Hosts on one machine, joined by links of a given rate: what a benchmark of communication runs on.

Each host is a network namespace with one interface to a bridge (in a namespace of its own), and every
program started there has its own host name and /etc/hosts, so that MPI and gloo take it for a machine.
Links are limited on both ends by a token bucket. Needs root and iproute2. Everything is removed when
the context ends, and what a killed run has left behind is removed when the next one begins.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

PREFIX = "slred"
SUBNET = "10.77.0"
UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}

# Enters a host: a core of its own as far as there are any, its network, a host name, and name resolution that
# asks nobody (mpirun waits half a minute for a name server that isn't there).
ENTER = """#!/bin/bash
host=$1; shift
core=$(((${host#h} - 1) % $(nproc --all)))
exec taskset -c $core nsenter --net=/run/netns/{group}$host unshare --uts --mount -- bash -c '
  hostname "$0"
  mount --bind {folder}/hosts /etc/hosts
  if [[ -e /etc/resolv.conf ]]; then mount --bind {folder}/nobody "$(realpath /etc/resolv.conf)"; fi
  exec "$@"' "$host" "$@"
"""

# What mpirun calls in place of ssh: options, host, command.
REMOTE_SHELL = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1; shift
exec {folder}/enter "$host" bash -c "$*"
"""


def bits_per_s(rate: str) -> float:
    """Of a rate as tc writes it: 100mbit, 1gbit."""
    for unit, factor in UNITS.items():
        number = rate.removesuffix(unit)
        if number != rate:
            try:
                return float(number) * factor
            except ValueError:
                break
    raise ValueError(f"rate '{rate}': expected a number and kbit, mbit or gbit, as in 100mbit, or none")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def require_tools() -> None:
    missing = [tool for tool in ("ip", "tc", "nsenter", "unshare", "taskset") if shutil.which(tool) is None]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not found: install iproute2 and util-linux")
    if os.geteuid() != 0:
        raise RuntimeError("network namespaces need root: run this as root")


def namespaces() -> list[str]:
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(PREFIX)]


def remove_namespace(name: str) -> None:
    """With all that runs in it: a namespace lives as long as a process does."""
    with contextlib.suppress(RuntimeError):
        for pid in run("ip", "netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    with contextlib.suppress(RuntimeError):
        run("ip", "netns", "del", name)


def remove_leftovers() -> None:
    """Namespaces whose maker is gone."""
    for name in namespaces():
        maker = name.removeprefix(PREFIX).split("-")[0]
        if not Path(f"/proc/{maker}").exists():
            remove_namespace(name)


class EmulatedNetwork:
    """`hosts` hosts named h1, h2 and so on; `rate` as tc writes it, or none for no limit."""

    def __init__(self, hosts: int, rate: str) -> None:
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        self.rate = None if rate == "none" else rate
        if self.rate:
            bits_per_s(self.rate)
        self.group = f"{PREFIX}{os.getpid()}-"

    def __enter__(self) -> "EmulatedNetwork":
        require_tools()
        remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-"))
        try:
            self._write_files()
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in namespaces():
            if name.startswith(self.group):
                remove_namespace(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, host: str) -> str:
        return f"{SUBNET}.{self.hosts.index(host) + 1}"

    def _write_files(self) -> None:
        names = "".join(f"{self.address(host)} {host}\n" for host in self.hosts)
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + names)
        (self.folder / "nobody").write_text("")
        for name, text in {"enter": ENTER, "remote_shell": REMOTE_SHELL}.items():
            script = self.folder / name
            script.write_text(text.replace("{folder}", str(self.folder)).replace("{group}", self.group))
            script.chmod(0o755)

    def _build(self) -> None:
        switch = self.group + "switch"
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "bridge", "up")
        for host in self.hosts:
            self._connect(host, switch)

    def _connect(self, host: str, switch: str) -> None:
        inside = self.group + host
        run("ip", "netns", "add", inside)
        run("ip", "-n", inside, "link", "set", "lo", "up")
        peer = ("peer", "name", host, "netns", switch)
        run("ip", "-n", inside, "link", "add", "eth0", "type", "veth", *peer)
        run("ip", "-n", inside, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        run("ip", "-n", switch, "link", "set", host, "master", "bridge")
        for namespace, device in ((inside, "eth0"), (switch, host)):
            run("ip", "-n", namespace, "link", "set", device, "up")
            if self.rate:
                run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", *self._limit())

    def _limit(self) -> list[str]:
        # Two milliseconds at once, and at least a segment as the kernel hands it over.
        burst = max(64 * 1024, int(bits_per_s(self.rate) / 8 * 2e-3))
        return ["tbf", "rate", self.rate, "burst", str(burst), "latency", "50ms"]

    def on(self, host: str, command: list[str]) -> list[str]:
        """The command line that runs `command` there."""
        return [str(self.folder / "enter"), host, *command]

    def mpirun_line(
        self, command: list[str], environment: dict[str, str], ranks_per_host: int = 1
    ) -> list[str]:
        ranks = ",".join(f"{host}:{ranks_per_host}" for host in self.hosts)
        subnet = f"{SUBNET}.0/24"
        parameters = {
            "plm": "rsh",
            "plm_rsh_agent": str(self.folder / "remote_shell"),
            "plm_rsh_no_tree_spawn": "1",
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
        line = ["mpirun", "--host", ranks, "-np", str(ranks_per_host * len(self.hosts)), "--bind-to", "none"]
        for name, value in parameters.items():
            line += ["--mca", name, value]
        for name in environment:
            line += ["-x", name]
        return self.on(self.hosts[0], line + command)

    def mpirun(
        self, command: list[str], environment: dict[str, str], ranks_per_host: int = 1, **options: object
    ) -> subprocess.CompletedProcess:
        """Runs `command` on all hosts under mpirun. `environment` reaches every rank."""
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        line = self.mpirun_line(command, environment, ranks_per_host)
        return subprocess.run(line, env=os.environ | root | environment, check=False, **options)

    def each(
        self, command: list[str], environment: dict[str, str], **options: object
    ) -> subprocess.CompletedProcess:
        """Runs `command` once on each host, as torch.distributed's env:// wants it; the result is the first
        host's, and its return code that of the first to fail: the others are then ended."""
        processes = []
        for rank, host in enumerate(self.hosts):
            place = {
                "RANK": str(rank),
                "WORLD_SIZE": str(len(self.hosts)),
                "MASTER_ADDR": self.address(self.hosts[0]),
                "MASTER_PORT": "29500",
                "GLOO_SOCKET_IFNAME": "eth0",
            }
            processes.append(
                subprocess.Popen(self.on(host, command), env=os.environ | place | environment, **options)
            )
        outputs = self._wait(processes)
        code = next((process.returncode for process in processes if process.returncode != 0), 0)
        return subprocess.CompletedProcess(command, code, *outputs[0])

    @staticmethod
    def _wait(processes: list[subprocess.Popen]) -> list[tuple]:
        while any(process.poll() is None for process in processes):
            if any(process.poll() not in (None, 0) for process in processes):
                for process in processes:
                    process.kill()
            time.sleep(0.05)
        return [process.communicate() for process in processes]
