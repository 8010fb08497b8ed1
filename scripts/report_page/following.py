"""Keeps event files up to runs that are at work."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from report_page.events import (
    all_events,
    config_of,
    point_events,
    records,
    target_folders,
    text_events,
    times_of,
    write_events,
)
from report_page.runs import NotBegun, Refused, Run, read_run

POLL_S = 0.5
READ = ("metrics.jsonl", "config.toml", "summary.json")


def has_ended(run: Run) -> bool:
    """A run that goes on, with more epochs or from an earlier step, has its old summary until it has a new
    one."""
    if run.summary is None or run.summary["steps"] != run.last_step:
        return False
    if steps := int(run.config.get("steps", 0)):
        return run.last_step >= steps
    # Whole epochs: half of one is more than rounding, and less than a further one.
    return (run.summary.get("epochs") or 0) > float(run.config.get("epochs", 0)) - 0.5


def state_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def common(before: Sequence[dict], now: Sequence[dict]) -> int:
    """How many lines at their beginning are the same."""
    pairs = zip(before, now, strict=False)
    return next((at for at, (old, new) in enumerate(pairs) if old != new), min(len(before), len(now)))


class Follower:
    """Of one run: its event file, and what is in it."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self.target = target
        self.has_ended = False
        self._seen: object = None
        self._run: Run | None = None  # as it was read last
        self._config = ""
        self._file: Path | None = None
        self._size = 0
        self._lines: list[dict] = []
        self._times: list[float] = []

    def _state(self) -> list[tuple[int, ...] | None]:
        return [state_of(self.folder / name) for name in READ]

    def look(self) -> None:
        """Reads the run, if it has changed. Raises Refused."""
        self._run, state = None, self._state()
        if state == self._seen:
            return
        try:
            self._run = read_run(self.folder, self.folder.name)
        except NotBegun:
            pass  # wait
        except Refused:
            # A run that goes on takes off lines, and writes others in their place. What was read meanwhile
            # may be some of both.
            if state == self._state():
                raise
            return
        self._seen = state

    def prepare(self) -> Callable[[], None]:
        """What writes the news that look() has found. Raises Refused, and then nothing is written."""
        run = self._run
        if run is None:
            return lambda: None
        kept, config = common(self._lines, run.lines), config_of(run)
        times = times_of(run, self._times[:kept])
        goes_on = kept == len(self._lines) and config == self._config and self._is_as_left()
        ended = has_ended(run)

        def events():
            yield from (
                point_events(run.lines[kept:], times[kept:]) if goes_on else all_events(run, config, times)
            )
            if ended:
                yield from text_events(run, times[-1])

        content = records(run, events)

        def write() -> None:
            if goes_on:
                with self._file.open("ab", buffering=0) as file:
                    file.write(content)
            else:
                self._file, self._size = write_events(self.target, content), 0
            self._size += len(content)
            self._config, self._lines, self._times, self.has_ended = config, run.lines, times, ended

        return write

    def _is_as_left(self) -> bool:
        """Another call may have replaced it."""
        state = state_of(self._file) if self._file else None
        return state is not None and state[1] == self._size

    @property
    def waits(self) -> bool:
        return self._file is None


def follow(folders: list[Path], out: Path | None, say: Callable[[str], None]) -> None:
    """Until all runs have ended. Raises Refused; at first before anything is written, later where a run can't
    be read any more."""
    pairs = zip(folders, target_folders(folders, out), strict=True)
    at_work = followers = [Follower(folder, target) for folder, target in pairs]
    is_first = True
    while at_work:
        for follower in at_work:
            follower.look()
        for write in [follower.prepare() for follower in at_work]:
            write()
        for follower in followers if is_first else []:
            done = "waiting for its first step" if follower.waits else f"wrote {follower.target}"
            say(f"{follower.folder}: {done}")
        for follower in at_work:
            if follower.has_ended:
                say(f"{follower.folder}: complete, all of it is in {follower.target}")
        at_work = [follower for follower in at_work if not follower.has_ended]
        is_first = False
        if at_work:
            time.sleep(POLL_S)
