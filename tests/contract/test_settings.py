from __future__ import annotations

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL, TOPOLOGY
from bananas_topology.contract.worker import WORKER_SETTINGS

WORKER = {setting.name: setting for setting in WORKER_SETTINGS}


def test_a_setting_of_worker_and_api_is_described_once() -> None:
    shared = [setting for setting in API_SETTINGS if setting.name in WORKER]

    assert [setting.name for setting in shared] == [
        "redis_url", "redis_url_file", "redis_password_file", "key_prefix", "log_level",
        "log_format", "log_color",
    ]  # fmt: skip
    for setting in shared:
        assert setting == WORKER[setting.name]


def test_no_two_settings_have_the_same_place_in_a_topology() -> None:
    for section, settings in (
        (TOPOLOGY, WORKER_SETTINGS),
        (POOL, WORKER_SETTINGS),
        (SCHEDULER, WORKER_SETTINGS),
        (API, API_SETTINGS),
    ):
        paths = [path for setting in settings if (path := setting.path_in(section))]
        assert len(set(paths)) == len(paths) > 0


def test_the_scheduler_section_has_shorter_names() -> None:
    interval = WORKER["scheduler_interval_ms"]

    assert interval.path_in(POOL) == ("scheduler_interval",)
    assert interval.path_in(SCHEDULER) == ("interval",)
    assert interval.path_in(API) == WORKER["worker_id"].path_in(POOL) == ()
