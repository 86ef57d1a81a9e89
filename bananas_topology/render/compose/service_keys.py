"""The keys of a service, to find typing errors in patches before `docker compose` does.

An unknown key is accepted, because the Compose Specification grows, unless it is almost a known
one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

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
#: All keys of a service in the Compose Specification.
SERVICE_KEYS = frozenset(_KEYS.split())

#: The similarity of two keys, from 0 to 1, above which one is taken for a misspelling.
_MIN_SIMILARITY = 0.85


def invalid_service(service: Mapping[str, Any]) -> str | None:
    """What makes a patched service certainly a mistake, if anything."""
    for key in service:
        if key in SERVICE_KEYS:
            continue
        if near := difflib.get_close_matches(str(key), sorted(SERVICE_KEYS), 1, _MIN_SIMILARITY):
            return f'has the key "{key}", not a Compose key (did you mean "{near[0]}"?)'
    if not service.get("image") and not service.get("build"):
        return "has no image; expected image or build"
    return None
