"""What raw lines and plans come to, as the text of README and docs/ has it."""

import functools
import importlib.machinery
import importlib.util
import json
import re
import statistics
import tempfile
import tomllib
from pathlib import Path
from types import ModuleType

import raw_lines
from contenders import ROOT, plan

HERE = Path(__file__).resolve().parent
MEASURED = ROOT / "docs/measured"
IMAGES_OF_CIFAR = 50_000
LINKS = ("100mbit", "300mbit", "1gbit")
NO_LIMIT = "none"
RESNET20, WRN, MLP, CNN = "cifar10_resnet20", "cifar10_wrn", "fashion_mlp", "fashion_cnn"
RATIOS = (0.5, 0.33, 0.25)


@functools.cache
def script(name: str) -> ModuleType:
    """What a script beside this one knows of its raw lines."""
    loader = importlib.machinery.SourceFileLoader(Path(name).name, str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@functools.cache
def all_lines(name: str) -> list[dict]:
    return raw_lines.read(MEASURED / f"{name}.jsonl")


def lines(name: str, **wanted: object) -> list[dict]:
    found = [line for line in all_lines(name) if wanted.items() <= line.items()]
    if not found:
        raise ValueError(f"docs/measured/{name}.jsonl: no line with {wanted}")
    return found


def median(key: str, name: str, **wanted: object) -> float:
    return raw_lines.median(lines(name, **wanted), key)


def by_hand(name: str) -> list[float]:
    entries = tomllib.loads((MEASURED / "by_hand.toml").read_text())
    if name not in entries:
        raise ValueError(f"docs/measured/by_hand.toml: no [{name}]")
    return entries[name]["values"]


def percent(share: float) -> float:
    return 100 * share


# The study of accuracy.


@functools.cache
def study(group: str) -> dict[str, list[dict]]:
    known = script("../study").known_runs(MEASURED / "study.jsonl")
    return raw_lines.grouped((line for line in known if line["group"] == group), "row")


def top1(group: str, row: str, key: str = "top1") -> float:
    return statistics.mean(run[key] for run in study(group)[row])


def below(group: str, row: str, of: str = "dense") -> float:
    """How many points a row ends below another one."""
    return top1(group, of) - top1(group, row)


def time(group: str, row: str) -> float:
    """As a share of dense training's."""
    return script("../study").times_of(study(group))[row]


def above_as_long(group: str, row: str) -> float:
    """Points above dense training that takes as long."""
    frontier = script("../study").frontier_of(study(group))
    return top1(group, row) - script("../study").dense_in(time(group, row), frontier)


def sent(group: str, row: str) -> float:
    """Bytes of the whole run, as a share of dense training's in fp32."""
    run, dense = study(group)[row][0], study(group)["dense"][0]
    return run["wire_bytes_per_step"] * run["steps"] / (dense["dense_bytes_per_step"] * dense["steps"])


def timed_dense(group: str) -> tuple[float, float]:
    """Dense rows' times as others are timed, over what their steps should take: least, most."""
    off = [
        script("../study").dense_steps_in(run) / run["steps"]
        for name, runs in study(group).items()
        if script("../study").is_plain(name, runs)
        for run in runs
        if "dense_step_ms" in run
    ]
    return min(off), max(off)


def spread(group: str, row: str) -> float:
    seeds = [run["top1"] for run in study(group)[row]]
    return max(seeds) - min(seeds)


def means_differ_by(group: str) -> float:
    """The standard deviation of the difference between two means of three seeds."""
    return statistics.stdev(run["top1"] for run in study(group)["dense"]) * (2 / 3) ** 0.5


def seed(number: int, group: str, row: str) -> float:
    return next(run["top1"] for run in study(group)[row] if run["seed"] == number)


def lost_on_the_card(row: str) -> float:
    """Of the seeds of the Wide-ResNet that ran on the card throughout."""
    return statistics.mean(seed(n, WRN, "dense") - seed(n, WRN, row) for n in (2, 3))


def over_thin(group: str) -> list[float]:
    """Points of top-k above the thin network of its cost, by ratio."""
    return [below(group, f"thin network, {ratio}", of=f"compact, {ratio}") for ratio in RATIOS]


# Steps on slow links, AllReduces, time to accuracy, loaders, checkpoints.


def slow_link(key: str, row: str, arch: str, rate: str, precision: str) -> float:
    there = lines("slow_links", row=row, arch=arch, rate=rate, precision=precision)
    return raw_lines.median(raw_lines.at_best_buckets(there), key)


def default_rank(row: str, rate: str) -> float:
    """Milliseconds of a step, in the runs that have PowerSGD rank 16."""
    return median("step_ms", "default_rank", row=row, rate=rate)


def rank_16_over_rank_4() -> tuple[float, float]:
    """Of a step's time: least, most."""
    longer = [
        default_rank("slicereduce, dense, rank 16", rate) / default_rank("slicereduce, dense, rank 4", rate)
        for rate in (*LINKS, NO_LIMIT)
    ]
    return min(longer), max(longer)


def default_over_ddp(rate: str) -> float:
    """How many times as fast as DDP with its bf16 hook."""
    return default_rank("PyTorch DDP, bf16 hook", rate) / default_rank("slicereduce, dense, rank 16", rate)


def slower_on_links(*rows: str) -> float:
    """The most that a step of these takes on any link, over what it takes without a limit."""
    return max(
        slow_link("step_ms", f"slicereduce, {row}", arch, rate, precision)
        / slow_link("step_ms", f"slicereduce, {row}", arch, NO_LIMIT, precision)
        for row in rows
        for arch in ("resnet18", "resnet50")
        for precision in ("fp32", "bf16")
        for rate in LINKS
    )


def memory(arch: str) -> tuple[float, float]:
    """Of compact 0.5 over DDP's, each without what it has before the first step: least, most."""
    theirs_before, ours_before = by_hand("before_the_first_step")
    shares = []
    for rate in (*LINKS, NO_LIMIT):
        ours, theirs = (
            slow_link("peak_memory_bytes", row, arch, rate, "fp32") / 1e6
            for row in ("slicereduce, compact 0.5", "PyTorch DDP")
        )
        shares.append((ours - ours_before) / (theirs - theirs_before))
    return min(shares), max(shares)


def allreduce(key: str, hosts: int, rate: str, wire: str, megabytes: int) -> float:
    at = {"hosts": hosts, "rate": rate, "wire": wire, "bytes": megabytes * 10**6}
    return median(key, "allreduce", ranks_per_host=1, **at)


def half_the_bytes() -> float:
    """The largest share of the time that half the bytes take."""
    return max(
        allreduce("time_ms", hosts, rate, "bf16", 5) / allreduce("time_ms", hosts, rate, "fp32", 10)
        for hosts in (2, 4)
        for rate in LINKS
    )


def payload(rate: str) -> float:
    """Bits a second that TCP gets through a link."""
    return script("allreduce").PAYLOAD * raw_lines.speed(rate)


def of_the_payload(rate: str, wire: str) -> float:
    """Of 10 MB on four hosts."""
    busbw = 8e9 * allreduce("busbw_gb_s", 4, rate, wire, 10)
    return busbw / payload(rate)


def to_accuracy(row: str) -> list[dict]:
    return lines("time_to_accuracy", row=row)


def seconds(row: str, seed: int | None = None) -> float:
    runs = [run for run in to_accuracy(row) if seed in (None, run["seed"])]
    return script("time_to_accuracy").median_seconds(runs)


def mean_top1(row: str) -> float:
    return statistics.mean(script("time_to_accuracy").accuracies(to_accuracy(row)))


def step_to_accuracy(row: str) -> float:
    """Milliseconds, with everything around it."""
    chosen = to_accuracy(row)[0]["settings"]
    steps = chosen["epochs"] * IMAGES_OF_CIFAR / (2 * chosen["batch_size"])
    return 1000 * seconds(row) / steps


def loader(row: str, threads: int = 1) -> float:
    return median("images_per_s", "loaders", row=row, threads=threads)


def run_of(name: str, row: str) -> dict:
    (run,) = lines(name, row=row)
    return run


def checkpoints() -> list[tuple[str, str, float, float]]:
    """Of each row: device and name, a checkpoint's share of 50 steps, and of a minute."""
    rows = raw_lines.grouped(all_lines("checkpoints"), "device", "row")
    every = script("checkpoints").EVERY
    costs = {key: raw_lines.median(runs, "cost_ms") for key, runs in rows.items()}
    return [
        (*key, costs[key] / (every * raw_lines.median(runs, "step_ms")), costs[key] / 60_000)
        for key, runs in rows.items()
    ]


def steps_with_and_without_factors(device: str) -> list[float]:
    """Milliseconds of rank 16's and of slices' between two workers, with no slow link."""
    rows = ("factors of rank 16", "slices")
    return [median("step_ms", "checkpoints", device=device, row=row) for row in rows]


def checkpoint_of_50_steps(device: str, *names: str) -> float:
    return max(share for where, name, share, _ in checkpoints() if where == device and name in names)


def predicted() -> list[str]:
    """What scripts/bench/predictions says of them all: how many, how many of them within, percent."""
    said = re.search(
        r"(\d+) predictions, (\d+) of them within (\d+) %", (ROOT / "docs/benchmarks.md").read_text()
    )
    return list(said.groups())


def prediction_errors(row: str) -> list[tuple[float, ...]]:
    """Percent at each of LINKS, of each network and precision, as the same script says them."""
    page = (ROOT / "docs/benchmarks.md").read_text()
    table = re.search(r"<!-- table predictions -->(.*?)<!-- end -->", page, re.DOTALL)[1]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [tuple(map(float, cells[3::3])) for cells in rows]


# Plans.


def total(*options: str) -> dict:
    return plan(*options)["total"]


def planned(*options: str) -> float:
    """Bytes of a step, as a share of a dense fp32 AllReduce."""
    return total(*options)["wire_bytes"] / total(*options)["dense_bytes"]


def planned_mb(*options: str) -> float:
    return total(*options)["wire_bytes"] / 1e6


def swept(row: str, dense: str, *options: str) -> dict[tuple[float, int], tuple[float, float]]:
    """A step of ours and one of DDP, by Gbit/s and workers, predicted from two rows' compute of ResNet-50."""
    with tempfile.TemporaryDirectory(prefix="slicereduce.") as folder:
        files = [Path(folder) / name for name in ("ours.json", "dense.json")]
        for file, each in zip(files, (row, dense), strict=True):
            there = lines("slow_links", row=each, arch="resnet50", rate=NO_LIMIT, precision="fp32")
            file.write_text(json.dumps(there[0]))
        computes = ("--measured", str(files[0]), "--measured-dense", str(files[1]))
        said = plan(
            "--arch", "resnet50", "--image-size", "64", "--wire", "bf16", *options, *computes, "--sweep"
        )
    return {
        (cell["link_gbit"], cell["world_size"]): (cell["step_ms"], cell["ddp_bf16_step_ms"])
        for cell in said["sweep"]
    }
