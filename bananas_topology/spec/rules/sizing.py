"""Rules on how many there are of something, and how much each may use."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.spec.rules.context import Finding, RuleContext
from bananas_topology.units import format_cpu, format_memory

_MAX_PORT = 65_535


def an_autoscaler_has_room(context: RuleContext) -> Iterator[Finding]:
    """The fewest are not more than the most."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is not None and scale.min_replicas > scale.max_replicas:
            yield Finding(
                (*each.path, "autoscale", "min"),
                f"the autoscaler of {each.subject} has min {scale.min_replicas} above max "
                f"{scale.max_replicas}",
                "exchange them",
            )


def an_autoscaler_has_a_target(context: RuleContext) -> Iterator[Finding]:
    """Without a target there is nothing to scale by."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is None:
            continue
        path = (*each.path, "autoscale")
        last = "requests_per_second" if each.path == ("api",) else "queue_depth"
        targets = (
            scale.cpu_percent,
            scale.memory_percent,
            scale.queue_depth,
            scale.requests_per_second,
        )
        if all(target is None for target in targets):
            yield Finding(
                path,
                f"the autoscaler of {each.subject} has no target",
                f"give it at least one of cpu, memory, {last}",
                at_key=True,
                about=tuple((*path, name) for name in ("cpu", "memory", last)),
            )


def a_share_is_of_a_request(context: RuleContext) -> Iterator[Finding]:
    """An autoscaler's percents are of what the workers request."""
    for each in context.scalables():
        if each.autoscale is None:
            continue
        requests = each.resources.requests
        for name, target, request in (
            ("cpu", each.autoscale.cpu_percent, requests.cpu_millis),
            ("memory", each.autoscale.memory_percent, requests.memory_bytes),
        ):
            if target is not None and request is None:
                yield Finding(
                    (*each.path, "autoscale", name),
                    f"the autoscaler of {each.subject} aims at {target}% of the requested {name}, "
                    "but none is requested",
                    f"set resources.requests.{name}",
                    at_key=True,
                    about=((*each.path, "resources"),),
                )


def scaling_to_none_counts_jobs(context: RuleContext) -> Iterator[Finding]:
    """Who has no workers can only learn from the queue that one is needed."""
    is_keda = context.topology.kubernetes.autoscaler == "keda"
    for each in context.scalables():
        scale = each.autoscale
        if scale is None or scale.min_replicas > 0 or (is_keda and scale.queue_depth is not None):
            continue
        what = "the api cannot be scaled to none"
        hint = "set min: 1"
        if each.path != ("api",):
            what = (
                f"the autoscaler of {each.subject} cannot go down to none: that takes KEDA and "
                "a queue_depth"
            )
            hint = "set min: 1; or kubernetes: {autoscaler: keda}, and a queue_depth"
        path = (*each.path, "autoscale")
        about = (("kubernetes", "autoscaler"), (*path, "queue_depth"))
        yield Finding((*path, "min"), what, hint, about=about)


def requests_are_within_limits(context: RuleContext) -> Iterator[Finding]:
    """Nobody is given more than they may use."""
    for each in context.scalables():
        requests, limits = each.resources.requests, each.resources.limits
        for name, request, limit, write in (
            ("cpu", requests.cpu_millis, limits.cpu_millis, format_cpu),
            ("memory", requests.memory_bytes, limits.memory_bytes, format_memory),
        ):
            if request is not None and limit is not None and request > limit:
                yield Finding(
                    (*each.path, "resources", "requests", name),
                    f"{each.subject} requests {write(request)} {name}, more than its limit of "
                    f"{write(limit)}",
                    "raise the limit, or request less",
                )


def each_replica_can_have_its_port(context: RuleContext) -> Iterator[Finding]:
    """A port of the host belongs to one process: each replica needs one."""
    api = context.topology.api
    if api is None or api.publish is None:
        return
    first, _, last = api.publish.partition("-")
    low, high = int(first), int(last or first)
    path = ("api", "publish")
    if not 1 <= low <= high <= _MAX_PORT:
        message = f'"publish" of the api is {api.publish}; expected a range within 1 to {_MAX_PORT}'
        yield Finding(path, message, "write it as 8080-8089")
        return
    most = max(api.replicas, api.autoscale.max_replicas if api.autoscale else 0)
    if high - low + 1 < api.replicas:
        yield Finding(
            path,
            f"the api has {api.replicas} replicas, but {high - low + 1} port of the host: the "
            "others could not start",
            f"give it a range, such as {low}-{min(low + most - 1, _MAX_PORT)}",
            about=(("api", "replicas"), ("api", "autoscale")),
        )


def memory_alone_never_scales_down(context: RuleContext) -> Iterator[Finding]:
    """Processes seldom give memory back, so an autoscaler that sees nothing else only grows."""
    for each in context.scalables():
        scale = each.autoscale
        if scale is None or scale.memory_percent is None:
            continue
        if scale.cpu_percent is scale.queue_depth is scale.requests_per_second is None:
            yield Finding(
                (*each.path, "autoscale", "memory"),
                f"the autoscaler of {each.subject} looks at memory alone, which processes seldom "
                "give back: it would hardly ever scale down",
                "scale by queue_depth" if each.path != ("api",) else "scale by cpu",
                at_key=True,
                about=((*each.path, "autoscale"),),
            )


def replicas_are_within_the_autoscalers_bounds(context: RuleContext) -> Iterator[Finding]:
    """What `replicas` say holds where no autoscaler is; the two should not contradict."""
    for each in context.scalables():
        scale, path = each.autoscale, (*each.path, "replicas")
        if scale is None or not context.has(path) or scale.min_replicas > scale.max_replicas:
            continue
        if not scale.min_replicas <= each.replicas <= scale.max_replicas:
            yield Finding(
                path,
                f"{each.subject} has replicas: {each.replicas}, but its autoscaler keeps "
                f"{scale.min_replicas} to {scale.max_replicas}",
                "in Kubernetes the autoscaler wins; leave replicas out, or within its bounds",
                about=((*each.path, "autoscale"),),
            )


def a_node_can_be_drained(context: RuleContext) -> Iterator[Finding]:
    """A budget that lets no replica go blocks every drain of its node, for ever."""
    for each in context.scalables():
        if each.disruption is None or each.disruption.min_available is None:
            continue
        fewest = each.autoscale.min_replicas if each.autoscale else each.replicas
        least = each.disruption.min_available
        if fewest and least >= fewest:
            hint = "raise the replicas, or leave it out" if fewest == 1 else f"set {fewest - 1}"
            yield Finding(
                (*each.path, "disruption", "min_available"),
                f"{each.subject} keeps {least} of its {fewest} available, so no node that it runs "
                "on can ever be drained",
                hint,
                about=((*each.path, "replicas"), (*each.path, "autoscale")),
            )
