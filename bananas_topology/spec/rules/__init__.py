"""What a topology must be beyond its shape: RULES, one small function each, each with a code.

A rule looks at the finished values and says where in the file it does not like them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bananas_topology.spec.diagnostics import Severity
from bananas_topology.spec.document import Document
from bananas_topology.spec.model import Topology
from bananas_topology.spec.nodes import Path, key_place, value_place
from bananas_topology.spec.rules import pools, schedules, settings, sizing, work
from bananas_topology.spec.rules.context import Finding, RuleContext

Rule = Callable[[RuleContext], Iterator[Finding]]

RULES: tuple[tuple[str, Rule], ...] = (
    ("BT201", work.a_used_priority_is_taken_by_some_pool),
    ("BT202", work.a_declared_job_type_is_taken_by_some_pool),
    ("BT203", work.a_scheduled_job_is_taken_by_some_pool),
    ("BT204", work.schedules_need_a_scheduler),
    ("BT205", work.retries_need_a_scheduler),
    ("BT206", work.workers_need_handlers),
    ("BT301", work.every_priority_is_taken_by_some_pool),
    ("BT210", pools.specialized_needs_priorities),
    ("BT211", pools.job_specialized_needs_job_types),
    ("BT212", pools.job_types_need_job_specialized),
    ("BT213", pools.a_scheduler_runs_no_jobs),
    ("BT214", pools.a_backoff_ends_above_its_beginning),
    ("BT215", pools.a_pool_has_a_name_of_its_own),
    ("BT302", pools.a_stop_waits_for_the_longest_job),
    ("BT303", pools.pools_differ_in_something),
    ("BT304", pools.thin_stands_alone),
    ("BT305", pools.replicas_share_no_log_file),
    ("BT220", sizing.an_autoscaler_has_room),
    ("BT221", sizing.an_autoscaler_has_a_target),
    ("BT222", sizing.a_share_is_of_a_request),
    ("BT223", sizing.scaling_to_none_counts_jobs),
    ("BT224", sizing.requests_are_within_limits),
    ("BT225", sizing.each_replica_can_have_its_port),
    ("BT310", sizing.memory_alone_never_scales_down),
    ("BT311", sizing.replicas_are_within_the_autoscalers_bounds),
    ("BT312", sizing.a_node_can_be_drained),
    ("BT230", settings.env_sets_no_contract_variable),
    ("BT231", settings.a_secret_has_no_value_in_the_file),
    ("BT232", settings.redis_url_is_a_url),
    ("BT233", settings.a_hash_tag_is_whole),
    ("BT234", settings.an_address_range_is_one),
    ("BT235", settings.labels_are_such_as_kubernetes_takes),
    ("BT236", settings.a_patch_operation_is_complete),
    ("BT320", settings.no_password_in_clear),
    ("BT321", settings.no_secret_in_clear),
    ("BT240", schedules.cron_is_cron),
    ("BT241", schedules.the_time_zone_is_known),
    ("BT242", schedules.cron_fires_some_day),
    ("BT243", schedules.a_payload_is_json),
)


def apply_rules(document: Document, topology: Topology, invalid_paths: set[Path]) -> None:
    """Report what the rules find; what follows from a fault that is reported already is not."""
    context = RuleContext(topology, document.root, frozenset(invalid_paths))
    for code, rule in RULES:
        severity = Severity.WARNING if code.startswith("BT3") else Severity.ERROR
        for finding in rule(context):
            if context.is_doubtful(finding):
                continue
            locate = key_place if finding.at_key else value_place
            place = locate(document.root, finding.path)
            document.report(code, place, finding.message, finding.hint, severity)
