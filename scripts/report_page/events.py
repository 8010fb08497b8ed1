"""Writes runs as event files of TensorBoard."""

import io
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from report_page.runs import Refused, Run, is_number, read_runs

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
    texts = {"config": verbatim((run.folder / "config.toml").read_text(encoding="utf-8"))}
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


def records_of(run: Run) -> bytes:
    """The content of an event file."""
    at = wall_time_of(run)
    start = at(0)
    content = io.BytesIO()
    writer = RecordWriter(content)

    def add(**event: object) -> None:
        writer.write(Event(**event).SerializeToString())

    add(wall_time=start, file_version="brain.Event:2")
    # A TensorBoard that is open drops what it had read of the file before this one.
    add(wall_time=start, step=0, session_log=SessionLog(status=SessionLog.START))
    texts = [text_value(tag, text) for tag, text in texts_of(run).items()]
    add(wall_time=start, step=0, summary=Summary(value=texts))
    for line in sorted([*run.step_lines, *run.evaluations], key=lambda line: line["step"]):
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars_of(line).items()]
        add(wall_time=at(line["step"]), step=line["step"], summary=Summary(value=values))
    return content.getvalue()


def records_or_refusal(run: Run) -> bytes:
    try:
        return records_of(run)
    except (ValueError, OverflowError) as error:
        path = run.folder / "metrics.jsonl"
        raise Refused(
            f"{path}: a number is too large for an event file ({error}); leave this run out"
        ) from None


def ours_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if OURS.fullmatch(file.name) and file.is_file())


def write_events(folder: Path, records: bytes) -> None:
    """In place of what an earlier call wrote there. The new file comes behind it in the order of names, and
    the last one stays, empty: a TensorBoard that is open looks there once more before it goes on to the new
    one, and would stop at a file that is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    old = ours_in(folder)
    newest = int(OURS.fullmatch(old[-1].name)[1]) if old else 0
    unfinished = folder / UNFINISHED
    try:
        unfinished.write_bytes(records)
        unfinished.rename(folder / f"events.out.tfevents.{max(time.time_ns(), newest + 1):020d}.slicereduce")
    finally:
        unfinished.unlink(missing_ok=True)
    for file in old[:-1]:
        file.unlink()
    for file in old[-1:]:
        os.truncate(file, 0)


def require_a_folder(folder: Path) -> None:
    """Or that one can be made."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise Refused(f"{place}: not a folder; choose another --out")


def convert(folders: list[Path], out: Path | None) -> list[Path]:
    """Where the events of each run are now. Raises Refused before anything is written."""
    if out is None and len(folders) > 1:
        raise Refused(
            "--out is missing: with several runs it names the folder that gets one for each of them"
        )
    runs = read_runs(folders)
    # A run at the root of the file system may have a name that begins there, too.
    targets = [out / run.name.lstrip("/") if out else run.folder / "tensorboard" for run in runs]
    for target in targets:
        require_a_folder(target)
    contents = [records_or_refusal(run) for run in runs]
    for target, content in zip(targets, contents, strict=True):
        write_events(target, content)
    return targets
