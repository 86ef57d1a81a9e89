"""`bananas render`: what a topology is to Compose, Kubernetes, or a target of somebody else's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import DEFAULT_FILE
from bananas_topology.cli.topology import read_topology

if TYPE_CHECKING:
    from bananas_topology.render.target import File as RenderedFile
    from bananas_topology.render.target import Rendering
    from bananas_topology.spec.model import Topology

#: A file of secrets is its owner's alone.
_SECRET_MODE = 0o600

_File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="The topology file.  [default: topology.yaml]",
        show_default=False,
    ),
]
_Compose = Annotated[bool, typer.Option("--compose", help="Render a Docker Compose file.")]
_K8s = Annotated[bool, typer.Option("--k8s", help="Render Kubernetes manifests.")]
_Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="NAME", help="Render for a target by its name.", show_default=False
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write files to a directory; files of ours that are no longer rendered go.",
        show_default=False,
    ),
]
_Check = Annotated[
    bool,
    typer.Option("--check", help="Write nothing; show how DIR differs, and exit with 1 if so."),
]
_WithSecrets = Annotated[
    bool,
    typer.Option(
        "--with-secrets",
        help="Write a Secret too, from the environment, to DIR/secret.yaml (Kubernetes).",
    ),
]


def render(
    file: _File = DEFAULT_FILE,
    compose: _Compose = False,
    k8s: _K8s = False,
    target: _Target = None,
    output: _Output = None,
    check: _Check = False,
    with_secrets: _WithSecrets = False,
) -> None:
    """Write a topology as a Compose file or as Kubernetes manifests.

    The same topology gives the same bytes everywhere. What a target cannot express is said on
    standard error. No secret value is ever rendered: manifests refer to a Secret, Compose files
    to variables.

    Examples:

        bananas render --compose > compose.yaml

        bananas render --k8s | kubectl apply -f -

        bananas render --k8s -o deploy/ && git diff deploy/

        bananas render --k8s -o deploy/ --check
    """
    name = _target_name(compose, k8s, target)
    _refuse_contradictions(name, output, check, with_secrets)
    topology = read_topology(file, "rendered")
    from bananas_topology.render.target import find_target

    rendering = find_target(name).render(topology)
    for text in rendering.notices:
        console.notice(f"notice: {text}")
    if output is None:
        sys.stdout.buffer.write(rendering.stream().encode())
        raise typer.Exit(OK)
    if check:
        raise typer.Exit(_compare(rendering, output))
    secrets = _secrets(topology) if with_secrets else ()
    _write(rendering, output, secrets)


def _target_name(compose: bool, k8s: bool, target: str | None) -> str:
    chosen = [
        *(["compose"] if compose else []),
        *(["k8s"] if k8s else []),
        *([target] if target is not None else []),
    ]
    if len(chosen) != 1:
        met = "none of them" if not chosen else "more than one"
        raise typer.BadParameter(
            f"{met} given; expected one of --compose, --k8s and --target NAME", param_hint="target"
        )
    return chosen[0]


def _refuse_contradictions(name: str, output: Path | None, check: bool, with_secrets: bool) -> None:
    if check and output is None:
        raise typer.BadParameter("needs -o DIR, the files to compare with", param_hint="--check")
    if with_secrets and (name != "k8s" or output is None or check):
        raise typer.BadParameter(
            "goes with --k8s and -o DIR, and without --check: "
            "a Secret is written to a file and nowhere else",
            param_hint="--with-secrets",
        )


def _compare(rendering: Rendering, directory: Path) -> int:
    from bananas_topology.cli.manifests import differences

    found = differences(rendering, directory)
    if not found:
        return OK
    sys.stdout.buffer.write(found.encode())
    console.notice(f"{directory} is not what the topology renders to; render again with -o")
    return FAILED


def _secrets(topology: Topology) -> tuple[RenderedFile, ...]:
    """Made before anything is written: what is missing is said while nothing has changed."""
    from bananas_topology.render.kubernetes.secrets import secret_file

    return (secret_file(topology, os.environ),)


def _write(rendering: Rendering, directory: Path, secrets: tuple[RenderedFile, ...]) -> None:
    from bananas_topology.cli.manifests import write_all, write_one

    for text in write_all(rendering, directory):
        console.notice(text)
    console.notice(f"wrote {len(rendering.files)} files to {directory}")
    for each in secrets:
        path = write_one(each, directory, _SECRET_MODE)
        console.notice(f"wrote {path}, which holds secrets: keep it out of version control")
