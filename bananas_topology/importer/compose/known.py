"""What rendered Compose services have anyway, whatever the topology says."""

from __future__ import annotations

from bananas_topology.importer.known import Row

#: The temporary directory of rendered services, which has 1 GB.
_TMP = r"/tmp(:size=(1g|1024m|1073741824))?"

#: Fields of services, whoever runs in them.
_ANY_SERVICE: tuple[Row, ...] = (
    ("restart", "unless-stopped|always", "rendered services use unless-stopped"),
    ("healthcheck.**", "", "rendered services have their own health check"),
    ("init", "true", "rendered services set it"),
    ("read_only", "true", "rendered services set it"),
    ("tmpfs", _TMP, "rendered services have one of 1 GB"),
    ("tmpfs[]", _TMP, "rendered services have one of 1 GB"),
    ("cap_drop[]", "ALL", "rendered services drop all capabilities"),
    ("security_opt[]", "no-new-privileges([:=]true)?", "rendered services set it"),
    ("stop_signal", "SIGTERM|15", "rendered services use it"),
    ("logging.driver", "json-file", "rendered services use it"),
    ("logging.options.max-size", "", "rendered services rotate their logs"),
    ("logging.options.max-file", "", "rendered services rotate their logs"),
    ("networks[]", "default|redis", "rendered services share the project's networks"),
    ("networks.default", "", "rendered services share the project's networks"),
    ("secrets[]", "REDIS_URL|REDIS_PASSWORD|API_TOKEN", "credentials are rendered as files"),
    ("expose[]", "", "not needed: Compose does not restrict ports between services"),
    ("deploy.mode", "replicated", "rendered services use it"),
    ("deploy.restart_policy.condition", "any", "rendered services use unless-stopped"),
)

#: Fields of workers and the api.
PROCESS: tuple[Row, ...] = (
    *_ANY_SERVICE,
    ("user", "10001(:10001)?", "rendered services run as this user"),
    ("stop_grace_period", "", "computed from the pool's `grace`"),
)

#: Fields of the Redis service.
REDIS: tuple[Row, ...] = (
    *_ANY_SERVICE,
    ("user", "999(:999)?", "rendered services run as this user"),
    ("stop_grace_period", "", "the managed Redis has a minute to save its data"),
    ("networks.*.aliases[]", "redis", "the managed Redis has this name"),
    ("deploy.replicas", "1", "there is one managed Redis"),
)
