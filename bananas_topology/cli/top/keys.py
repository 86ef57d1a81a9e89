"""The keys of `bananas top`: from bytes to names, and what each does to the model. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from bananas_topology.cli.top.model import Model, Pane, Sort
from bananas_topology.cli.top.tables import COLUMNS, Row, cursor, rows

_SEQUENCES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[C": "right", "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\x1b[Z": "back tab",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\t": "tab", " ": "space",
    "\x7f": "backspace", "\x08": "backspace",
}  # fmt: skip

#: What the keys do, as the help shows it.
HELP = (
    ("tab, ← →, 1 2 3", "show running jobs, workers, or dead jobs"),
    ("↑ ↓ PgUp PgDn Home End", "select a row; also j and k"),
    ("enter", "show the details of the job, or the jobs of the worker"),
    ("r", "retry the dead job that is selected or shown"),
    ("/", "filter by text in any column; escape clears it"),
    ("s, S", "sort by the next column; reverse the order"),
    ("space, p", "pause: freeze what is shown; again to go on"),
    ("escape", "back"),
    ("q, Ctrl-C", "quit"),
)


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the program."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Requeue a dead job."""

    job_id: str


Request = Quit | Retry
Pressed = tuple[Model, Request | None]


def split_keys(text: str) -> list[str]:
    """Split what a terminal sent into keys; control sequences without a meaning are dropped.

    >>> split_keys("j\\x1b[A\\x1b[15~/ä\\r")
    ['j', 'up', '/', 'ä', 'enter']
    """
    keys: list[str] = []
    while text:
        size = _sequence_length(text)
        sequence, text = text[:size], text[size:]
        key = _SEQUENCES.get(sequence, sequence)
        if len(key) > 1 or key.isprintable():
            keys += [key] if not key.startswith("\x1b") else []
    return keys


def _sequence_length(text: str) -> int:
    if text[:2] == "\x1bO":
        return min(3, len(text))
    if text[:2] != "\x1b[":
        return 1
    end = next((i for i, char in enumerate(text[2:], 2) if "@" <= char <= "~"), len(text) - 1)
    return end + 1


def press(model: Model, key: str, page: int, last_scroll: int = 0) -> Pressed:
    """Apply a key; `page`: number of rows that PgUp and PgDn move by.

    `last_scroll`: the largest useful `scroll` of a job's details.
    """
    if model.is_typing:
        return _type(model, key), None
    model = replace(model, message="")
    if model.is_helping:
        return replace(model, is_helping=False), Quit() if key == "q" else None
    if key == "q":
        return model, Quit()
    if key in ("space", "p"):
        return replace(model, is_paused=not model.is_paused), None
    if key in ("?", "h"):
        return replace(model, is_helping=True), None
    if key == "r":
        return _retry(model)
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
    steps |= {"home": -(10**9), "end": 10**9}
    if model.job_id is not None:
        return _in_job(model, key, steps, last_scroll), None
    if key in steps:
        return _select(model, steps[key]), None
    action = _ACTIONS.get(key)
    return (action(model) if action else model), None


def _type(model: Model, key: str) -> Model:
    """Edit the filter."""
    match key:
        case "enter" | "down" | "up" | "tab":
            return replace(model, is_typing=False)
        case "escape":
            return replace(model, is_typing=False, filter="")
        case "backspace":
            return replace(model, filter=model.filter[:-1])
        case "space":
            return replace(model, filter=f"{model.filter} ")
        case _:
            return replace(model, filter=model.filter + key) if len(key) == 1 else model


def _in_job(model: Model, key: str, steps: dict[str, int], last: int) -> Model:
    if key in ("escape", "enter", "left", "backspace"):
        return replace(model, job_id=None, job=None, scroll=0)
    return replace(model, scroll=max(0, min(model.scroll + steps.get(key, 0), last)))


def _select(model: Model, step: int) -> Model:
    shown = rows(model)
    index = max(0, min(cursor(model, shown) + step, len(shown) - 1))
    row_id = shown[index].row_id if shown else None
    return replace(model, selected_id=row_id, selected_index=index)


def _selected(model: Model) -> Row | None:
    shown = rows(model)
    return shown[cursor(model, shown)] if shown else None


def _enter(model: Model) -> Model:
    row = _selected(model)
    if row is None:
        return model
    if model.pane is Pane.WORKERS:
        return replace(_show(model, Pane.RUNNING), filter=row.row_id)
    index = cursor(model, rows(model))
    return replace(
        model, selected_id=row.row_id, selected_index=index, job_id=row.row_id, job=None, scroll=0
    )


def _retry(model: Model) -> Pressed:
    if model.job_id is not None:
        job = model.job.job if model.job else None
        if job is not None and job.status == "failed":
            return replace(model, message=f"retrying {model.job_id} …"), Retry(model.job_id)
    elif model.pane is Pane.DEAD and (row := _selected(model)):
        return replace(model, message=f"retrying {row.row_id} …"), Retry(row.row_id)
    return replace(model, message="only dead jobs can be retried: press 3 to list them"), None


def _show(model: Model, pane: Pane) -> Model:
    return replace(model, pane=pane, filter="", selected_id=None, selected_index=0)


def _show_next(model: Model, step: int) -> Model:
    panes = list(Pane)
    return _show(model, panes[(panes.index(model.pane) + step) % len(panes)])


def _sort_by_next(model: Model) -> Model:
    column = (model.sort.column + 1) % len(COLUMNS[model.pane])
    return replace(model, sorts={**model.sorts, model.pane: Sort(column)})


def _reverse(model: Model) -> Model:
    sort = replace(model.sort, reverse=not model.sort.reverse)
    return replace(model, sorts={**model.sorts, model.pane: sort})


_ACTIONS: dict[str, Callable[[Model], Model]] = {
    "tab": lambda model: _show_next(model, 1),
    "right": lambda model: _show_next(model, 1),
    "back tab": lambda model: _show_next(model, -1),
    "left": lambda model: _show_next(model, -1),
    **{str(number): partial(_show, pane=pane) for number, pane in enumerate(Pane, 1)},
    "s": _sort_by_next,
    "S": _reverse,
    "/": lambda model: replace(model, is_typing=True),
    "escape": lambda model: replace(model, filter=""),
    "enter": _enter,
}
