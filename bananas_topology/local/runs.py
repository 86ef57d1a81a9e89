"""Finds the run that a command is about: that of a file, or the only one of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.errors import ControlFailed
from bananas_topology.local.logs import LOG_DIRECTORY
from bananas_topology.supervisor.directories import owner_of
from bananas_topology.supervisor.record import STATE_DIRECTORY, RunRecord, running


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a command line selects a run.

    `file` is None if none is given. `name` reads the name of the topology, which is slow and done
    only if needed: one file may run under several names. It returns None if the name cannot be
    read. `is_named`: only a run with that name is selected.
    """

    directory: Path
    file: Path | None
    default_file: Path
    name: Callable[[], str | None]
    is_named: bool = False

    @property
    def folder(self) -> Path:
        """The folder with the state directories."""
        return self.directory if self.file is None else self.file.absolute().parent

    @property
    def topology(self) -> Path:
        return self.file or self.directory / self.default_file

    def is_of(self, record: RunRecord) -> bool:
        """Whether a run is of this file, even if its folder is reached by a link."""
        return _place(Path(record.topology)) == _place(self.topology)


def find_run(wanted: Wanted) -> RunRecord:
    """Find the selected run: of the file, or else the only one in the directory.

    Raises:
        ControlFailed: none runs, or several and none of them is meant.
    """
    records = running(wanted.folder)
    own = [each for each in records if wanted.is_of(each)]
    if wanted.file is None:
        own = own or records
    if own and (wanted.is_named or len(own) > 1):
        name = wanted.name()
        # A run can be stopped even if its file has errors.
        named = [each for each in own if each.name == name]
        own = named if named or (wanted.is_named and name is not None) else own
    if len(own) == 1:
        return own[0]
    if len({each.topology for each in own}) > 1:
        files = ", ".join(sorted(each.topology for each in own))
        raise ControlFailed(f"several topologies are running here; choose one with -f: {files}")
    if own:
        names = ", ".join(sorted(each.name for each in own))
        raise ControlFailed(
            f"{wanted.topology} runs as {names}; choose one with the overlays and variables of its "
            "name"
        )
    if wanted.file is None:
        raise ControlFailed("nothing is running here; start with: bananas up -d")
    raise ControlFailed(f"{wanted.file} is not running; start it with: bananas up -d {wanted.file}")


def find_run_to_change(wanted: Wanted) -> RunRecord:
    """Find the run that a topology is to be applied to: its own, or the only one of its folder.

    Raises:
        ControlFailed: none runs, or several and none of them is of this file.
    """
    if wanted.file is None:
        return find_run(wanted)
    records = running(wanted.folder)
    own = [each for each in records if wanted.is_of(each)]
    if len(own) > 1:
        name = wanted.name()
        own = [each for each in own if each.name == name] or own
    if len(own or records) == 1:
        return (own or records)[0]
    if not records:
        raise ControlFailed(f"nothing is running there; start it with: bananas up -d {wanted.file}")
    files = ", ".join(sorted(each.topology for each in records))
    raise ControlFailed(f"several topologies are running there, and none is {wanted.file}: {files}")


def find_state(wanted: Wanted) -> tuple[Path, RunRecord | None]:
    """Find the state directory of a run, or of the latest one that has ended.

    Raises:
        ControlFailed: none has ever run here, or several run and none of them is meant.
    """
    records = running(wanted.folder)
    if any(wanted.is_of(each) for each in records) or (wanted.file is None and records):
        record = find_run(wanted)
        return Path(record.directory), record
    logs = (wanted.folder / STATE_DIRECTORY).glob(f"*/{LOG_DIRECTORY}")
    states = [path.parent for path in logs]
    if wanted.is_named or (len(states) > 1 and wanted.topology.exists()):
        # Only the topology knows which of them is its own.
        name = wanted.name()
        states = [path for path in states if owner_of(path).name == name] or states
    if not states:
        raise ControlFailed("nothing has run here; start with: bananas up -d")
    return max(states, key=lambda path: (path / LOG_DIRECTORY).stat().st_mtime), None


def _place(file: Path) -> Path:
    return file.absolute().parent.resolve() / file.name
