"""Writes runs as event files of TensorBoard."""

import io
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from report_page.runs import Refused, Run, is_number, names_of, read_runs

# TensorBoard reads what has "tfevents" in its name, in the order of the names. The end is ours alone: by it
# our files are told from those of other programs.
OURS = re.compile(r"events\.out\.tfevents\.(\d{20})\.slicereduce")
UNFINISHED = "events.slicereduce.partial"
BYTES = {"wire_bytes": "wire/bytes", "dense_bytes": "wire/dense_bytes"}


def tag_of(name: str, line: dict) -> str:
    if "network" in line:
        return f"eval/{line['network']}/{name}"
    return BYTES.get(name) or (f"time/{name}" if name.endswith("_ms") else f"train/{name}")


def scalars_of(line: dict) -> dict[str, float]:
    """Every number of the line by its tag. What is null was not measured: it is a gap."""
    return {tag_of(name, line): value for name, value in line.items() if name != "step" and is_number(value)}


def texts_of(run: Run) -> dict[str, str]:
    """What is known at the end of the run, or of its lines."""
    texts = {}
    if run.summary is not None:
        texts["summary"] = verbatim(json.dumps(run.summary, indent=2))
    if run.notes:
        texts["notes"] = "\n".join(f"- {note}" for note in run.notes)
    return texts


def verbatim(text: str) -> str:
    """As Markdown. Indented, as no text can end that."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def text_value(tag: str, text: str) -> Summary.Value:
    """As tensorboard.plugins.text.summary_v2 makes it, which loads NumPy first."""
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    return Summary.Value(tag=tag, tensor=tensor, metadata=create_summary_metadata(None, None))


def wall_time_of(run: Run) -> Callable[[int], float]:
    """When a step was done, in seconds since 1970. Lines have no time of day: the last one is as old as the
    file, and those before it lie as far back as the steps between took."""
    end = (run.folder / "metrics.jsonl").stat().st_mtime
    total = run.spent(run.last_step).seconds
    if total is None:
        return lambda step: end
    return lambda step: end - total + (run.spent(step).seconds or 0)


def times_of(run: Run, known: Sequence[float] = ()) -> list[float]:
    """Of all lines, where those of the first ones are known from when they came in."""
    at, earliest = wall_time_of(run), known[-1] if known else 0.0
    return [*known, *(max(at(line["step"]), earliest) for line in run.lines[len(known) :])]


def head_events(config: str, start: float) -> Iterator[Event]:
    yield Event(wall_time=start, file_version="brain.Event:2")
    # A TensorBoard that is open drops what it had read of the file before this one.
    yield Event(wall_time=start, session_log=SessionLog(status=SessionLog.START))
    yield Event(wall_time=start, summary=Summary(value=[text_value("config", verbatim(config))]))


def point_events(lines: Sequence[dict], times: Sequence[float]) -> Iterator[Event]:
    for line, at in zip(lines, times, strict=True):
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars_of(line).items()]
        yield Event(wall_time=at, step=line["step"], summary=Summary(value=values))


def text_events(run: Run, at: float) -> Iterator[Event]:
    values = [text_value(tag, text) for tag, text in texts_of(run).items()]
    yield Event(wall_time=at, step=run.last_step, summary=Summary(value=values))


def records(run: Run, events: Callable[[], Iterable[Event]]) -> bytes:
    """As they are in an event file. Raises Refused where that can't hold a number of the run."""
    content = io.BytesIO()
    writer = RecordWriter(content)
    try:
        for event in events():
            writer.write(event.SerializeToString())
    except (ValueError, OverflowError) as error:
        path = run.folder / "metrics.jsonl"
        raise Refused(
            f"{path}: a number is too large for an event file ({error}); leave this run out"
        ) from None
    return content.getvalue()


def config_of(run: Run) -> str:
    return (run.folder / "config.toml").read_text(encoding="utf-8")


def all_events(run: Run, config: str, times: Sequence[float]) -> Iterator[Event]:
    yield from head_events(config, min(wall_time_of(run)(0), times[0]))
    yield from point_events(run.lines, times)


def whole_file(run: Run) -> bytes:
    times = times_of(run)
    return records(
        run, lambda: itertools.chain(all_events(run, config_of(run), times), text_events(run, times[-1]))
    )


def ours_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if OURS.fullmatch(file.name) and file.is_file())


def write_events(folder: Path, content: bytes) -> Path:
    """In place of what an earlier call wrote there. The new file comes behind it in the order of names, and
    the last one stays, empty: a TensorBoard that is open looks there once more before it goes on to the new
    one, and would stop at a file that is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    old = ours_in(folder)
    newest = int(OURS.fullmatch(old[-1].name)[1]) if old else 0
    unfinished = folder / UNFINISHED
    file = folder / f"events.out.tfevents.{max(time.time_ns(), newest + 1):020d}.slicereduce"
    try:
        unfinished.write_bytes(content)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    for before in old[:-1]:
        before.unlink()
    for before in old[-1:]:
        os.truncate(before, 0)
    return file


def require_a_folder(folder: Path) -> None:
    """Or that one can be made."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise Refused(f"{place}: not a folder; choose another --out")


def target_folders(folders: list[Path], out: Path | None) -> list[Path]:
    """Where the events of each run belong. Raises Refused."""
    if out is None and len(folders) > 1:
        raise Refused(
            "--out is missing: with several runs it names the folder that gets one for each of them"
        )
    names = names_of(folders)
    # A run at the root of the file system may have a name that begins there, too.
    pairs = zip(folders, names, strict=True)
    targets = [out / name.lstrip("/") if out else folder / "tensorboard" for folder, name in pairs]
    for target in targets:
        require_a_folder(target)
    return targets


def convert(folders: list[Path], out: Path | None) -> list[Path]:
    """Where the events of each run are now. Raises Refused before anything is written."""
    targets = target_folders(folders, out)
    contents = [whole_file(run) for run in read_runs(folders)]
    for target, content in zip(targets, contents, strict=True):
        write_events(target, content)
    return targets
