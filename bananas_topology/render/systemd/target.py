"""A topology as a systemd service that runs `bananas up`: one hardened unit file.

`up` speaks systemd's protocol (readiness, status, watchdog), so the service is ready once all
processes are, and is restarted if the supervisor stalls; the supervisor restarts its processes.
"""

from __future__ import annotations

from collections.abc import Iterable

from bananas_topology.launch import API_GRACE_MS, launch_for
from bananas_topology.render.names import dns_label
from bananas_topology.render.systemd.log_directories import created_logs
from bananas_topology.render.systemd.notices import notices
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.spec.model import Pool, Topology
from bananas_topology.units import quantity

#: Milliseconds on top of the longest grace: the bundled server saves its data, output is written.
STOP_MARGIN_MS = 30_000

#: Bytes that the supervisor may use, on top of the limits of its processes.
_SUPERVISOR_BYTES = 64 * 2**20

#: Seconds without a sign of life after which the supervisor is replaced; it sends one each second.
_WATCHDOG_S = 30

_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077
"""


class SystemdTarget:
    """The target behind ``bananas render --systemd``."""

    name = "systemd"

    def render(self, topology: Topology) -> Rendering:
        """Make the one file."""
        name = _service_name(topology)
        text = header(topology, self.name) + _installation(topology, name) + _unit(topology, name)
        return Rendering((File(f"{name}.service", text),), tuple(notices(topology)))


def _service_name(topology: Topology) -> str:
    label = dns_label(topology.name)
    return label if label.startswith("bananas-") else f"bananas-{label}"


def _installation(topology: Topology, name: str) -> str:
    lines = [
        "# Put topology.yaml, the handlers and their virtual environment, .venv, into",
        f"# /srv/{name}.",
        "# Drop-ins (systemctl edit) change paths, the user and what follows.",
    ]
    if secrets := _secrets(topology):
        lines.append(f"# Required in /etc/{name}.env, mode 0600: {', '.join(secrets)}")
    lines += [
        f"# {pool.name}: {quantity(pool.replicas, 'process')}, "
        f"{quantity(pool.total_threads, 'thread')}"
        for pool in topology.pools
    ]
    return "\n".join([*lines, "", ""])


def _unit(topology: Topology, name: str) -> str:
    directory = f"/srv/{name}"
    state = f"{directory}/.bananas"
    grace_ms = max([launch_for(topology, pool).grace_ms for pool in topology.pools], default=0)
    stop_s = -(-(max(grace_ms, API_GRACE_MS) + STOP_MARGIN_MS) // 1000)
    has_secrets = bool(_secrets(topology))
    env_file = " --env-file %d/env" if has_secrets else ""
    credential = f"LoadCredential=env:/etc/{name}.env\n" if has_secrets else ""
    logs = " ".join(created_logs(topology))
    log_directories = f"LogsDirectory={logs}\nLogsDirectoryMode=0750\n" if logs else ""
    return f"""\
[Unit]
Description=Bananas topology {dns_label(topology.name)}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
User=bananas
Group=bananas
WorkingDirectory={directory}
{credential}ExecStartPre=+/usr/bin/install -d -m 700 -o bananas -g bananas {state}
ExecStart={directory}/.venv/bin/bananas up topology.yaml{env_file}
# `systemctl reload` fails if the file cannot be applied; what ran before is kept then.
ExecReload={directory}/.venv/bin/bananas apply --yes

# The supervisor restarts its processes: a start has no time limit, and one of them that the kernel
# kills for lack of memory is no reason to stop the others.
TimeoutStartSec=infinity
OOMPolicy=continue
WatchdogSec={_WATCHDOG_S}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2

# Only the supervisor gets SIGTERM, and running jobs have their grace period; then all are killed.
KillMode=mixed
TimeoutStopSec={stop_s}

{_limits(topology)}ReadWritePaths=-{state}
{log_directories}{_HARDENING}
[Install]
WantedBy=multi-user.target
"""


def _limits(topology: Topology) -> str:
    """The limits of all processes together; none where one of them has none."""
    # `up` starts one process of the api.
    counts = [(part, part.replicas if isinstance(part, Pool) else 1) for part in topology.parts]
    limits = [(part.resources.limits, count) for part, count in counts if count]
    text = "LimitNOFILE=65536\n"
    if memory_bytes := _total((each.memory_bytes, count) for each, count in limits):
        redis = topology.redis
        server_bytes = 0 if redis.is_external else redis.managed.memory_bytes
        text += f"MemoryMax={memory_bytes + server_bytes + _SUPERVISOR_BYTES}\n"
    if cpu_millis := _total((each.cpu_millis, count) for each, count in limits):
        text += f"CPUQuota={cpu_millis // 10}%\n"
    return text


def _total(amounts: Iterable[tuple[int | None, int]]) -> int | None:
    """The sum of amounts, each with its number; None if one of them is not set."""
    total = 0
    for amount, count in amounts:
        if amount is None:
            return None
        total += amount * count
    return total


def _secrets(topology: Topology) -> list[str]:
    """Names of the variables whose values are in the credential."""
    names = ["REDIS_URL"] if topology.redis.is_external else []
    names += ["API_TOKEN"] if topology.api is not None else []
    for part in topology.parts:
        names += part.shell_variables
    return list(dict.fromkeys(names))
