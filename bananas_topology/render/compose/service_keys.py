"""What a service may have, to find the slips in patches before `docker compose` does.

A key that we do not know passes, for the Specification grows; one that is almost a known one is
taken for a typing error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from bananas_topology.errors import RenderFailed

_KEYS = """
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime
    cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices
    dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links
    extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links
    logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode
    networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_start
    pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart runtime
    scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls
    tmpfs tty ulimits umask use_api_socket user userns_mode uts volumes volumes_from working_dir
"""
#: The keys of a service, by the Compose Specification.
SERVICE_KEYS = frozenset(_KEYS.split())

#: How much alike two keys are, from 0 to 1, if one is the other with a slip.
_ALIKE = 0.85


def check_service(name: str, service: Mapping[str, Any]) -> None:
    """Refuse what a patch cannot have meant.

    Raises:
        RenderFailed: a key is almost one of a service's, or nothing says what to run.
    """
    for key in service:
        if key in SERVICE_KEYS:
            continue
        if near := difflib.get_close_matches(str(key), sorted(SERVICE_KEYS), 1, _ALIKE):
            raise RenderFailed(
                f'compose.patches leaves service {name} with "{key}", which no service has '
                f'(did you mean "{near[0]}"?)'
            )
    if not service.get("image") and not service.get("build"):
        raise RenderFailed(
            f"compose.patches leaves service {name} without an image; "
            "expected image, or build, to stay"
        )
