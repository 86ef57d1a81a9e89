"""`bananas render`: render a topology for Compose, Kubernetes, or a third-party target."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import FileArgument, Overlays, Overrides
from bananas_topology.cli.topology import TopologyFiles, read_topology, topology_files
from bananas_topology.units import quantity

if TYPE_CHECKING:
    from bananas_topology.render.target import File as RenderedFile
    from bananas_topology.render.target import Rendering
    from bananas_topology.spec.model import Topology

#: A file of secrets is accessible to its owner only.
_SECRET_MODE = 0o600

_Compose = Annotated[bool, typer.Option("--compose", help="Render a Docker Compose file.")]
_K8s = Annotated[bool, typer.Option("--k8s", help="Render Kubernetes manifests.")]
_Systemd = Annotated[
    bool, typer.Option("--systemd", help="Render a systemd unit that runs `bananas up`.")
]
_Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="NAME", help="Render for an installed target.", show_default=False
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write files to DIR and remove rendered files that are no longer needed.",
        show_default=False,
    ),
]
_Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Compare only: print a diff of DIR and exit with 1 if it is out of date."
    ),
]
_WithSecrets = Annotated[
    bool,
    typer.Option(
        "--with-secrets",
        help="Also write DIR/secret.yaml, with values from the environment (Kubernetes).",
    ),
]
_PruneCommand = Annotated[
    bool,
    typer.Option(
        "--prune-command",
        help="Print the kubectl command that applies the manifests from standard input and "
        "deletes what earlier ones left behind (Kubernetes).",
    ),
]

_Replaces = Annotated[
    str | None,
    typer.Option(
        "--replaces",
        metavar="NAME",
        help="Former name of the topology, whose files in DIR are replaced and removed.",
        show_default=False,
    ),
]


def render(
    file: FileArgument = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    compose: _Compose = False,
    k8s: _K8s = False,
    systemd: _Systemd = False,
    target: _Target = None,
    output: _Output = None,
    check: _Check = False,
    with_secrets: _WithSecrets = False,
    prune_command: _PruneCommand = False,
    replaces: _Replaces = None,
) -> None:
    """Render a topology as a Compose file, Kubernetes manifests or a systemd unit.

    The output is reproducible: the same topology renders to the same bytes. Anything the target
    cannot express is reported on standard error. Secret values are not rendered: manifests refer
    to a Secret, Compose files to variables.

    Examples:

        bananas render --compose > compose.yaml

        bananas render --k8s | kubectl apply -f -

        bananas render --systemd > /etc/systemd/system/bananas-shop.service

        bananas render --k8s base.yaml -f prod.yaml --set image=shop:1.4.2

        bananas render --k8s | $(bananas render --k8s --prune-command)
    """
    from bananas_topology.render.target import find_target

    name = _target_name(compose=compose, k8s=k8s, systemd=systemd, target=target)
    _check_options(name, output, check, with_secrets, prune_command, replaces)
    topology = _read(topology_files(overlays, overrides, file), name)
    if prune_command:
        raise typer.Exit(_print_prune_command(topology))
    rendering = find_target(name).render(topology)
    for text in rendering.notices:
        console.notice(f"notice: {text}")
    if output is None:
        sys.stdout.buffer.write(rendering.stream().encode())
        raise typer.Exit(OK)
    if check:
        raise typer.Exit(_compare(rendering, output, replaces))
    secrets = _secrets(topology) if with_secrets else ()
    _write(rendering, output, secrets, replaces)


def _read(files: TopologyFiles, target: str) -> Topology:
    topology = read_topology(files, "rendered")
    if target == "systemd" and files.is_merged:
        console.notice(
            "notice: the service reads topology.yaml only: add what is merged into it to ExecStart "
            f"in a drop-in, as in `bananas up {files.arguments}`"
        )
    return topology


def _target_name(*, compose: bool, k8s: bool, systemd: bool, target: str | None) -> str:
    from bananas_topology.render.target import target_names

    targets = [
        *(["compose"] if compose else []),
        *(["k8s"] if k8s else []),
        *(["systemd"] if systemd else []),
        *([target] if target is not None else []),
    ]
    if len(targets) != 1:
        given = "more than one" if targets else "none"
        raise typer.BadParameter(
            f"expected one of --compose, --k8s, --systemd and --target NAME, got {given}",
            param_hint="target",
        )
    (name,) = targets
    if name not in target_names():
        expected = ", ".join(target_names())
        raise typer.BadParameter(f'expected one of {expected}, got "{name}"', param_hint="--target")
    return name


def _check_options(
    name: str,
    output: Path | None,
    check: bool,
    with_secrets: bool,
    prune_command: bool,
    replaces: str | None,
) -> None:
    if prune_command and (name != "k8s" or output is not None or check):
        raise typer.BadParameter(
            "requires --k8s, and cannot be combined with -o DIR", param_hint="--prune-command"
        )
    if check and output is None:
        raise typer.BadParameter("requires -o DIR, the files to compare with", param_hint="--check")
    if replaces is not None and output is None:
        raise typer.BadParameter("requires -o DIR", param_hint="--replaces")
    if with_secrets and (name != "k8s" or output is None or check):
        raise typer.BadParameter(
            "requires --k8s and -o DIR, and cannot be combined with --check: "
            "a Secret is written to a file only",
            param_hint="--with-secrets",
        )


def _print_prune_command(topology: Topology) -> int:
    from bananas_topology.render.kubernetes.prune import prune_command

    print(prune_command(topology))
    return OK


def _compare(rendering: Rendering, directory: Path, replaces: str | None) -> int:
    from bananas_topology.cli.manifests import check_replaceable, differences

    check_replaceable(rendering.files, directory, replaces)
    diff = differences(rendering, directory, replaces)
    if not diff:
        return OK
    sys.stdout.buffer.write(diff.encode())
    console.notice(f"{directory} is out of date; render again with -o {directory}")
    return FAILED


def _secrets(topology: Topology) -> tuple[RenderedFile, ...]:
    """Build the Secret before anything is written, so that a missing value changes nothing."""
    from bananas_topology.render.kubernetes.secrets import secret_file

    return (secret_file(topology, os.environ),)


def _write(
    rendering: Rendering, directory: Path, secrets: tuple[RenderedFile, ...], replaces: str | None
) -> None:
    from bananas_topology.cli.manifests import check_replaceable, write_all, write_one

    check_replaceable(secrets, directory, replaces)
    for text in write_all(rendering, directory, replaces):
        console.notice(text)
    console.notice(f"wrote {quantity(len(rendering.files), 'file')} to {directory}")
    for each in secrets:
        path = write_one(each, directory, replaces, _SECRET_MODE)
        console.notice(f"wrote {path}; it contains secrets, keep it out of version control")
        has_namespace = "namespace.yaml" in {file.path for file in rendering.files}
        after = "after namespace.yaml and " if has_namespace else ""
        console.notice(f"apply it {after}before the other files")
