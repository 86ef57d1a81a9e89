"""The rules of the house: who may import whom, and where each third party comes in."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "bananas_topology"
ROOT = Path(__file__).parents[1] / PACKAGE
FILES = sorted(ROOT.rglob("*.py"))

#: The longest file and function that a reader is asked to take in at once.
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

#: What each part may import of the others; parts are named by how their modules begin. The first
#: that matches counts. A part may always import itself.
GROUND = ("errors", "units", "backoff", "system", "handlers", "contract", "type_checking_names")
#: What `local` shares with the worker: how it logs, and what its counts mean.
SHARED_BY_WORKERS = ("worker.logs", "worker.metrics", "worker.job_metrics", "worker.usage")
MODEL = ("spec.model", "spec.container")

#: Checks of the doctor that are also alerts of the API, and what they are made of: they know no
#: topology.
JUDGEMENT = (
    "doctor.examination",
    "doctor.wording",
    "doctor.check",
    "doctor.checks.redis",
    "doctor.checks.running",
    "doctor.checks.scheduling",
    "doctor.checks.troubleshooting",
)

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("errors", ()),
    ("units", ("errors",)),
    ("yaml_writer", ()),
    ("backoff", ("errors",)),
    ("system", ("errors",)),
    ("contract", ("errors", "units")),
    ("handlers", ("errors", "units", "system", "contract")),
    ("type_checking_names", ()),
    ("handler_wrappers", ()),
    ("handler_signatures", ("errors", "handlers", "handler_wrappers", "type_checking_names")),
    ("handler_modules", ("errors", "handlers", "handler_signatures", "handler_wrappers", "system")),
    ("liveness", ()),
    ("spec", GROUND),
    ("jobs", GROUND),
    ("client", (*GROUND, "jobs")),
    ("launch", (*GROUND, "spec.model")),
    ("worker", (*GROUND, "handler_modules", "jobs", "liveness")),
    ("doctor.check", (*GROUND, "doctor.examination", "doctor.checks.all")),
    *((part, (*GROUND, "jobs", *JUDGEMENT)) for part in JUDGEMENT),
    ("api", (*GROUND, "jobs", "client", "worker.logs", *JUDGEMENT)),
    ("supervisor.plan", (*GROUND, "launch", "spec.model", "supervisor")),
    ("supervisor", (*GROUND, "launch")),
    ("local", (*GROUND, "spec", "jobs", "launch", "supervisor", *SHARED_BY_WORKERS)),
    ("render", (*GROUND, "launch", *MODEL, "spec.diagnostics", "yaml_writer")),
    ("importer", (*GROUND, "spec", "yaml_writer")),
    ("doctor", (*GROUND, "jobs", "spec")),
    ("cli", ("",)),
    ("__main__", ("cli", "system")),
    ("__init__", ("handlers", "client")),
)

#: The doors: a third-party module, and the only files that may import it.
DOORS: dict[str, tuple[str, ...]] = {
    "yaml": (
        "spec/composer.py",
        "spec/yaml_loading.py",
        "importer/source.py",
        "yaml_writer.py",
    ),
    "jsonschema": ("spec/shape.py",),
    "jsonpatch": ("render/patches.py",),
    "redis": ("jobs", "client.py", "local"),
    "pydantic": ("jobs/payloads.py",),
    "msgspec": ("jobs", "worker", "api", "cli/enqueue/json_lines.py"),
    "typer": ("cli",),
    "rich": ("cli/console.py", "cli/top"),
    "cronsim": ("worker/cron.py", "worker/scheduler.py", "spec/rules"),
    "prometheus_client": ("worker", "api", "jobs/queue_metrics.py", "local/metrics.py"),
    "fastapi": ("api",),
    "starlette": ("api",),
    "anyio": ("api",),
    "uvicorn": ("api",),
    "watchfiles": ("local/watch.py",),
}


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _is_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs: what is imported for the type checker alone binds nobody."""
    for child in ast.iter_child_nodes(node):
        if not _is_checking(child):
            yield child
            yield from _nodes(child)


def _imports(path: Path) -> Iterator[str]:
    for node in _nodes(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = (ROOT.parent / name.replace(".", "/")).with_suffix(".py").exists()
                is_package = (ROOT.parent / name.replace(".", "/")).is_dir()
                yield name if is_module or is_package else str(node.module)


def _is_within(module: str, part: str) -> bool:
    return part == "" or module == part or module.startswith(f"{part}.")


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    module = _module(path)
    part, allowed = next(entry for entry in LAYERS if _is_within(module, entry[0]))

    for name in _imports(path):
        if name == PACKAGE or not _is_within(name, PACKAGE):
            continue
        target = name.removeprefix(f"{PACKAGE}.")
        assert any(_is_within(target, each) for each in (part, *allowed)), (
            f"{module} imports {target}"
        )


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_a_third_party_comes_in_by_its_door_alone(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()

    for name in _imports(path):
        doors = DOORS.get(name.partition(".")[0])
        assert doors is None or any(
            where == door or where.startswith(f"{door}/") for door in doors
        ), f"{where} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_a_file_and_its_functions_can_be_taken_in_at_once(path: Path) -> None:
    source = path.read_text("utf-8")

    assert source.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


def _modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has imported after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "WORKER_HANDLERS": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_a_worker_never_imports_what_only_the_command_line_needs() -> None:
    imported = _modules_after("import bananas_topology.worker.__main__")

    assert not imported & {"typer", "rich", "yaml", "jsonschema"}
    assert "redis" in imported


def test_the_api_never_imports_what_only_the_command_line_needs() -> None:
    imported = _modules_after("import bananas_topology.api.process")

    assert not imported & {"typer", "rich", "yaml", "jsonschema"}
    assert "fastapi" in imported


def test_validation_never_imports_redis() -> None:
    topology = Path(__file__).parents[1] / "topologies" / "specialized.yaml"

    imported = _modules_after(
        "import contextlib\n"
        "from bananas_topology.cli.main import main\n"
        "import sys\n"
        f"sys.argv = ['bananas', 'validate', {str(topology)!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr): main()"
    )

    assert "jsonschema" in imported
    assert "redis" not in imported
