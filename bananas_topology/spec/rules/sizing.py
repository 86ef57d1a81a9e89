"""Rules on numbers of replicas and ports, and on resources."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.spec.messages import subject_of
from bananas_topology.spec.nodes import KeyPath
from bananas_topology.spec.rules.context import RuleContext, Violation, rule
from bananas_topology.units import format_cpu, format_memory, quantity

_MAX_PORT = 65_535
#: Less memory than any process needs: its unit was forgotten.
_LEAST_MEMORY_BYTES = 2**20


@rule("BT220", "Autoscaler min above max", example="autoscale: {min: 5, max: 2, cpu: 70}")
def autoscale_min_is_not_above_max(context: RuleContext) -> Iterator[Violation]:
    """An autoscaler has a range to scale in."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is not None and scale.min_replicas > scale.max_replicas:
            yield Violation(
                (*each.path, "autoscale", "min"),
                f"the autoscaler of {each.subject} has min {scale.min_replicas} above max "
                f"{scale.max_replicas}",
                "swap min and max",
            )


@rule("BT221", "Autoscaler without a target", example="autoscale: {min: 1, max: 5}")
def autoscalers_have_a_target(context: RuleContext) -> Iterator[Violation]:
    """Without a target there is nothing to scale on."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is None:
            continue
        path = (*each.path, "autoscale")
        last = "requests_per_second" if each.is_api else "queue_depth"
        targets = (
            scale.cpu_percent,
            scale.memory_percent,
            scale.queue_depth,
            scale.requests_per_second,
        )
        if all(target is None for target in targets):
            yield Violation(
                path,
                f"the autoscaler of {each.subject} has no target",
                f"set at least one of cpu, memory, {last}",
                at_key=True,
                depends_on=tuple((*path, name) for name in ("cpu", "memory", last)),
            )


@rule(
    "BT222",
    "Utilization target without a resource request",
    example="autoscale: {min: 1, max: 5, cpu: 70}",
)
def utilization_targets_need_requests(context: RuleContext) -> Iterator[Violation]:
    """Utilization is measured in percent of the request."""
    for each in context.scalables():
        if each.autoscale is None:
            continue
        requests = each.resources.requests
        for name, target, request in (
            ("cpu", each.autoscale.cpu_percent, requests.cpu_millis),
            ("memory", each.autoscale.memory_percent, requests.memory_bytes),
        ):
            if target is not None and request is None:
                yield Violation(
                    (*each.path, "autoscale", name),
                    f"the autoscaler of {each.subject} targets {target}% of the requested {name}, "
                    f"but no {name} is requested",
                    f"set resources.requests.{name}",
                    at_key=True,
                    depends_on=((*each.path, "resources"),),
                )


@rule(
    "BT223",
    "Scale to zero without KEDA and a queue depth",
    example="autoscale: {min: 0, max: 5}",
)
def scaling_to_zero_needs_keda(context: RuleContext) -> Iterator[Violation]:
    """Without workers, only the queue depth shows that one is needed."""
    is_keda = context.topology.kubernetes.autoscaler == "keda"
    for each in context.scalables():
        scale = each.autoscale
        if scale is None or scale.min_replicas > 0 or (is_keda and scale.queue_depth is not None):
            continue
        if each.is_api:
            message, hint = "the api cannot scale to zero", "set min: 1"
        else:
            message = (
                f"the autoscaler of {each.subject} cannot scale to zero without KEDA and a "
                "queue_depth"
            )
            hint = "set min: 1, or set kubernetes: {autoscaler: keda} and a queue_depth"
        path = (*each.path, "autoscale")
        depends_on = (("kubernetes", "autoscaler"), (*path, "queue_depth"))
        yield Violation((*path, "min"), message, hint, depends_on=depends_on)


@rule(
    "BT224",
    "Resource request above the limit",
    example="{requests: {cpu: 2}, limits: {cpu: 1}}",
)
def requests_are_within_limits(context: RuleContext) -> Iterator[Violation]:
    """A request above the limit can never be met."""
    for each in context.scalables():
        requests, limits = each.resources.requests, each.resources.limits
        for name, request, limit, write in (
            ("cpu", requests.cpu_millis, limits.cpu_millis, format_cpu),
            ("memory", requests.memory_bytes, limits.memory_bytes, format_memory),
        ):
            if request is not None and limit is not None and request > limit:
                yield Violation(
                    (*each.path, "resources", "requests", name),
                    f"{each.subject} requests {write(request)} {name}, more than its limit of "
                    f"{write(limit)}",
                    "raise the limit, or lower the request",
                )


@rule(
    "BT225",
    "Fewer host ports than api replicas",
    example="api: {replicas: 2, publish: 8080}",
)
def api_replicas_have_host_ports(context: RuleContext) -> Iterator[Violation]:
    """Only one process can listen on a host port."""
    api = context.topology.api
    if api is None or api.publish is None:
        return
    first, _, last = api.publish.partition("-")
    low, high = int(first), int(last or first)
    path = ("api", "publish")
    if not 1 <= low <= high <= _MAX_PORT:
        message = f'"publish" of the api is {api.publish}; expected a range within 1 to {_MAX_PORT}'
        yield Violation(path, message, "write it as 8080-8089")
        return
    count = high - low + 1
    most = max(api.replicas, api.autoscale.max_replicas if api.autoscale else 0)
    if count < api.replicas:
        yield Violation(
            path,
            f"the api has {api.replicas} replicas, but only {count} host port"
            f"{'s' if count > 1 else ''}: the other replicas could not start",
            f"publish a range, such as {low}-{min(low + most - 1, _MAX_PORT)}",
            depends_on=(("api", "replicas"), ("api", "autoscale")),
        )


@rule(
    "BT310",
    "Autoscaler that scales on memory only",
    example="autoscale: {min: 1, max: 5, memory: 70}",
)
def autoscalers_do_not_use_memory_only(context: RuleContext) -> Iterator[Violation]:
    """Processes rarely release memory, so such an autoscaler only ever adds replicas."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is None or scale.memory_percent is None:
            continue
        if scale.cpu_percent is scale.queue_depth is scale.requests_per_second is None:
            yield Violation(
                (*each.path, "autoscale", "memory"),
                f"the autoscaler of {each.subject} scales on memory only, which processes rarely "
                "release: it would hardly ever scale down",
                f"scale on {'cpu' if each.is_api else 'queue_depth'}",
                at_key=True,
                depends_on=((*each.path, "autoscale"),),
            )


@rule(
    "BT311",
    "Replicas outside the autoscaler's range",
    example="{replicas: 9, autoscale: {…}}",
)
def replicas_are_within_the_autoscalers_range(context: RuleContext) -> Iterator[Violation]:
    """`replicas` is used where there is no autoscaler; the two should not contradict."""
    for each in context.scalables():
        scale, path = each.autoscale, (*each.path, "replicas")
        if scale is None or not context.has(path) or scale.min_replicas > scale.max_replicas:
            continue
        if not scale.min_replicas <= each.replicas <= scale.max_replicas:
            yield Violation(
                path,
                f"{each.subject} sets replicas: {each.replicas}, outside its autoscaler's range of "
                f"{scale.min_replicas} to {scale.max_replicas}",
                "in Kubernetes the autoscaler wins; remove replicas, or set it within the range",
                depends_on=((*each.path, "autoscale"),),
            )


@rule(
    "BT312",
    "Disruption budget that blocks node drains",
    example="{replicas: 1, disruption: {min_available: 1}}",
)
def nodes_can_be_drained(context: RuleContext) -> Iterator[Violation]:
    """A budget that allows no disruption blocks every drain of its nodes."""
    for each in context.scalables():
        if each.disruption is None or each.disruption.min_available is None:
            continue
        replicas = each.autoscale.min_replicas if each.autoscale else each.replicas
        required = each.disruption.min_available
        if replicas and required >= replicas:
            stay = f"{required} of its {replicas} replicas" if replicas > 1 else "its only replica"
            yield Violation(
                (*each.path, "disruption", "min_available"),
                f"{each.subject} requires {stay} to stay available: its nodes can never be drained",
                f"set {replicas - 1}" if replicas > 1 else "raise replicas, or remove it",
                depends_on=((*each.path, "replicas"), (*each.path, "autoscale")),
            )


@rule("BT313", "Memory without a unit", example="limits: {memory: 512}")
def amounts_of_memory_have_a_unit(context: RuleContext) -> Iterator[Violation]:
    """As in Kubernetes and Compose, a plain number is in bytes, which is rarely meant."""
    managed = context.topology.redis.managed
    amounts: list[tuple[KeyPath, int]] = [
        (("redis", "managed", "memory"), managed.memory_bytes),
        (("redis", "managed", "storage"), managed.storage_bytes),
    ]
    for each in context.scalables():
        path, limits = (*each.path, "resources"), each.resources.limits
        amounts += [
            ((*path, "requests", "memory"), each.resources.requests.memory_bytes or 0),
            ((*path, "limits", "memory"), limits.memory_bytes or 0),
            ((*path, "limits", "ephemeral_storage"), limits.ephemeral_storage_bytes or 0),
            *(
                ((*each.path, "volumes", volume.name, "temporary"), volume.temporary_bytes or 0)
                for volume in each.volumes
            ),
        ]
    for path, memory_bytes in amounts:
        if context.has(path) and memory_bytes < _LEAST_MEMORY_BYTES:
            yield Violation(
                path,
                f"{subject_of(path)} is {quantity(memory_bytes, 'byte')}, less than any process "
                "needs",
                f"add a unit, such as {memory_bytes}Mi" if memory_bytes else None,
            )
