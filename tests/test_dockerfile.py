from __future__ import annotations

import re
from pathlib import Path

import pytest

from bananas_topology import __version__

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "bananas_topology" / "cli" / "templates"

#: Each Dockerfile that we have, with what keeps its build context small.
BUILDS = {
    "ours": (ROOT / "Dockerfile", ROOT / ".dockerignore"),
    "of an app": (TEMPLATES / "Dockerfile", TEMPLATES / "dockerignore"),
}
DOCKERFILES = [pytest.param(path, id=name) for name, (path, _) in BUILDS.items()]


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Name and argument of each instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def _last_stage(dockerfile: Path) -> list[tuple[str, str]]:
    instructions = _instructions(dockerfile)
    begins = [i for i, (name, _) in enumerate(instructions) if name == "FROM"]
    assert len(begins) == 2, "one stage builds, the other runs"
    return instructions[begins[-1] :]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_runs_is_a_worker_and_nobody_special(dockerfile: Path) -> None:
    stage = dict(_last_stage(dockerfile))

    assert stage["USER"] == "10001:10001"
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert stage["ENTRYPOINT"] == '["python", "-m", "bananas_topology.worker"]'
    assert "HEALTHCHECK" not in stage


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_nothing_is_installed_where_it_runs(dockerfile: Path) -> None:
    for name, argument in _last_stage(dockerfile):
        assert not re.search(r"\b(pip|apt-get|gcc|curl)\b", argument), (name, argument)


@pytest.mark.parametrize(("dockerfile", "ignore"), BUILDS.values(), ids=BUILDS)
def test_the_context_holds_what_is_copied_and_no_more(dockerfile: Path, ignore: Path) -> None:
    copied = {
        source
        for name, argument in _instructions(dockerfile)
        if name == "COPY" and not argument.startswith("--from")
        for source in argument.split()[:-1]
    }
    lines = [line for line in ignore.read_text("utf-8").splitlines() if not line.startswith("#")]

    assert lines[0] == "*", "a secret in .env never gets near an image"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_image_is_labelled_with_the_version_that_it_holds() -> None:
    arguments = [argument for name, argument in _instructions(ROOT / "Dockerfile") if name == "ARG"]

    assert f"VERSION={__version__}" in arguments


def test_all_that_the_wheel_is_made_from_is_copied() -> None:
    copied = " ".join(argument for name, argument in _instructions(ROOT / "Dockerfile"))

    for source in ("pyproject.toml", "README.md", "LICENSE", "schemas", "bananas_topology"):
        assert (ROOT / source).exists()
        assert f"{source} " in copied
