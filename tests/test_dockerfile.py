from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from bananas_topology import __version__

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "bananas_topology" / "cli" / "templates"

#: Every Dockerfile of the repository, with its .dockerignore.
BUILDS = {
    "of Bananas": (ROOT / "Dockerfile", ROOT / ".dockerignore"),
    "of an application": (TEMPLATES / "Dockerfile", TEMPLATES / "dockerignore"),
}
DOCKERFILES = [pytest.param(path, id=name) for name, (path, _) in BUILDS.items()]


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Name and argument of each instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def _last_stage(dockerfile: Path) -> list[tuple[str, str]]:
    instructions = _instructions(dockerfile)
    starts = [i for i, (name, _) in enumerate(instructions) if name == "FROM"]
    assert len(starts) == 2, "expected a build stage and a runtime stage"
    return instructions[starts[-1] :]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_image_runs_a_worker_as_an_unprivileged_user(dockerfile: Path) -> None:
    stage = dict(_last_stage(dockerfile))

    assert stage["USER"] == "10001:10001"
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert stage["ENTRYPOINT"] == '["python", "-m", "bananas_topology.worker"]'
    assert "HEALTHCHECK" not in stage


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_last_stage_installs_nothing(dockerfile: Path) -> None:
    for name, argument in _last_stage(dockerfile):
        assert not re.search(r"\b(pip|apt-get|gcc|curl)\b", argument), (name, argument)


@pytest.mark.parametrize(("dockerfile", "ignore"), BUILDS.values(), ids=BUILDS)
def test_the_build_context_contains_only_what_is_copied(dockerfile: Path, ignore: Path) -> None:
    copied = {
        source
        for name, argument in _instructions(dockerfile)
        if name == "COPY" and not argument.startswith("--from")
        for source in argument.split()[:-1]
    }
    lines = [line for line in ignore.read_text("utf-8").splitlines() if not line.startswith("#")]

    assert lines[0] == "*", "everything is ignored by default, such as secrets in .env"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_image_is_labelled_with_its_version() -> None:
    arguments = [argument for name, argument in _instructions(ROOT / "Dockerfile") if name == "ARG"]

    assert f"VERSION={__version__}" in arguments


def test_everything_the_wheel_is_built_from_is_copied() -> None:
    copied = " ".join(argument for name, argument in _instructions(ROOT / "Dockerfile"))

    for source in ("pyproject.toml", "README.md", "LICENSE", "schemas", "bananas_topology"):
        assert (ROOT / source).exists()
        assert f"{source} " in copied


@pytest.mark.parametrize(
    ("wheels", "package"),
    [
        ((), "bananas-topology[api]==9.9"),
        (
            ("bananas_topology-9.8-py3-none-any.whl",),
            "./bananas_topology-9.8-py3-none-any.whl[api]",
        ),
    ],
)
def test_an_apps_image_installs_bananas_from_a_wheel_if_there_is_one_else_from_the_index(
    tmp_path: Path, wheels: tuple[str, ...], package: str
) -> None:
    done = _install(tmp_path, *wheels)

    assert done.stdout.splitlines() == ["/opt/venv", package]


def test_an_apps_image_is_not_built_with_an_arbitrary_one_of_several_wheels(tmp_path: Path) -> None:
    done = _install(tmp_path, "bananas_topology-9.8-py3-none-any.whl", "bananas_topology-9.9.whl")

    assert (done.returncode, done.stdout) == (1, "")
    assert "expected one wheel, got ./bananas_topology-9.8-py3" in done.stderr


def _install(directory: Path, *wheels: str) -> subprocess.CompletedProcess[str]:
    """Run the step that installs Bananas, with a Python that prints its last argument."""
    script = next(
        argument for name, argument in _instructions(TEMPLATES / "Dockerfile") if name == "RUN"
    )
    for name in wheels:
        (directory / name).touch()
    python = directory / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nfor last; do :; done\necho "$last"\n')
    python.chmod(0o755)
    return subprocess.run(
        ["sh", "-c", script],
        cwd=directory,
        env={"PATH": f"{python.parent}:{os.environ['PATH']}", "BANANAS_VERSION": "9.9"},
        capture_output=True,
        text=True,
        check=False,
    )
