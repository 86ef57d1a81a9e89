"""What rendered Kubernetes objects have anyway, whatever the topology says."""

from __future__ import annotations

from bananas_topology.importer.known import Row
from bananas_topology.importer.source import Field

_CLUSTER = "set by the cluster"
_DEFAULT = "the default of Kubernetes"
_OWN = "set in rendered objects"
_RESTRICTED = "rendered pods have restricted security settings"

_MANAGED_BY = ("metadata", "labels", "app.kubernetes.io/managed-by")

#: The labels ``app.kubernetes.io/…`` that rendered objects have.
STANDARD = ("name", "instance", "version", "component", "part-of", "managed-by")

#: Fields of any object. Its other labels and annotations are dropped.
OBJECT: tuple[Row, ...] = (
    ("apiVersion", "", _OWN),
    ("kind", "", _OWN),
    ("metadata.name", "", "rendered objects have names of their own"),
    ("metadata.generateName", "", "rendered objects have names of their own"),
    *(
        (f"metadata.labels.app.kubernetes.io/{name}", "", "rendered objects have standard labels")
        for name in STANDARD
    ),
    ("metadata.labels.bananas/**", "", "rendered objects have standard labels"),
    ("metadata.labels.pod-security.kubernetes.io/*", "restricted", "rendered namespaces set it"),
    ("metadata.labels", r"\{\}", "empty"),
    ("metadata.annotations", r"\{\}", "empty"),
    ("metadata.annotations.kubectl.kubernetes.io/last-applied-configuration", "", _CLUSTER),
    ("metadata.annotations.deployment.kubernetes.io/revision", "", _CLUSTER),
    ("metadata.uid", "", _CLUSTER),
    ("metadata.resourceVersion", "", _CLUSTER),
    ("metadata.generation", "", _CLUSTER),
    ("metadata.creationTimestamp", "", _CLUSTER),
    ("metadata.selfLink", "", _CLUSTER),
    ("metadata.managedFields**", "", _CLUSTER),
    ("status**", "", _CLUSTER),
)

#: Fields of a pod, relative to `spec.template`.
_POD: tuple[Row, ...] = (
    ("metadata.creationTimestamp", "", _CLUSTER),
    *(
        (f"metadata.labels.app.kubernetes.io/{name}", "", "rendered pods have standard labels")
        for name in STANDARD
    ),
    ("metadata.labels.bananas/**", "", "rendered pods have standard labels"),
    ("spec.automountServiceAccountToken", "false", "rendered pods set it"),
    ("spec.enableServiceLinks", "false", "rendered pods set it"),
    ("spec.securityContext.runAsNonRoot", "true", _RESTRICTED),
    ("spec.securityContext.runAsUser", "10001", _RESTRICTED),
    ("spec.securityContext.runAsGroup", "10001", _RESTRICTED),
    ("spec.securityContext.fsGroup", "10001", _RESTRICTED),
    ("spec.securityContext.fsGroupChangePolicy", "OnRootMismatch", _RESTRICTED),
    ("spec.securityContext.seccompProfile.type", "RuntimeDefault", _RESTRICTED),
    ("spec.terminationGracePeriodSeconds", "", "computed from the pool's `grace`"),
    ("spec.restartPolicy", "Always", _DEFAULT),
    ("spec.dnsPolicy", "ClusterFirst", _DEFAULT),
    ("spec.schedulerName", "default-scheduler", _DEFAULT),
)

_CONTAINER: tuple[Row, ...] = (
    ("name", "", "rendered containers have names of their own"),
    ("securityContext.allowPrivilegeEscalation", "false", _RESTRICTED),
    ("securityContext.readOnlyRootFilesystem", "true", _RESTRICTED),
    ("securityContext.runAsNonRoot", "true", _RESTRICTED),
    ("securityContext.capabilities.drop[]", "ALL", _RESTRICTED),
    ("lifecycle.preStop.exec.command[]", r"python|-c|import time; time\.sleep\(5\)", _OWN),
    ("terminationMessagePath", "/dev/termination-log", _DEFAULT),
    ("terminationMessagePolicy", "File", _DEFAULT),
)

#: Fields of a Deployment or a StatefulSet, whoever runs in it.
_ANY_WORKLOAD: tuple[Row, ...] = (
    *((f"spec.template.{place}", value, note) for place, value, note in _POD),
    *(
        (f"spec.template.spec.containers[].{place}", value, note)
        for place, value, note in _CONTAINER
    ),
    ("spec.selector.**", "", "rendered workloads have their own selectors"),
    ("spec.progressDeadlineSeconds", "600", _DEFAULT),
    ("spec.revisionHistoryLimit", "10", _DEFAULT),
)

#: Fields of a workload of a pool, the scheduler or the api.
WORKLOAD: tuple[Row, ...] = (
    *_ANY_WORKLOAD,
    ("spec.strategy.type", "RollingUpdate", "rendered Deployments use it"),
    ("spec.strategy.rollingUpdate.maxUnavailable", "0", "rendered Deployments use it"),
    ("spec.strategy.rollingUpdate.maxSurge", "25%", "rendered Deployments use it"),
)

#: Fields of the workload of Redis.
REDIS: tuple[Row, ...] = (
    *_ANY_WORKLOAD,
    ("spec.serviceName", "", "the managed Redis has its own Service"),
    ("spec.replicas", "1", "there is one managed Redis"),
    ("spec.volumeClaimTemplates[].apiVersion", "v1", _OWN),
    ("spec.volumeClaimTemplates[].kind", "PersistentVolumeClaim", _OWN),
    ("spec.volumeClaimTemplates[].metadata.name", "", "the managed Redis has its own volume"),
    ("spec.volumeClaimTemplates[].spec.volumeMode", "Filesystem", _DEFAULT),
    ("spec.volumeClaimTemplates[].status**", "", _CLUSTER),
    ("spec.persistentVolumeClaimRetentionPolicy.*", "Retain", _DEFAULT),
    (
        "spec.volumeClaimTemplates[].metadata.labels.app.kubernetes.io/**",
        "",
        "rendered objects have standard labels",
    ),
    (
        "spec.volumeClaimTemplates[].spec.accessModes[]",
        "ReadWriteOnce",
        "the managed Redis has its own volume",
    ),
    *(
        (
            f"spec.template.spec.containers[].{kind}Probe.**",
            "",
            "the managed Redis has its own probes",
        )
        for kind in ("startup", "liveness", "readiness")
    ),
    (
        "spec.template.spec.containers[].ports[].**",
        "6379|redis|TCP",
        "the managed Redis has this port",
    ),
    (
        "spec.template.spec.containers[].resources.requests.cpu",
        "250m",
        "the managed Redis has this request",
    ),
    (
        "spec.template.spec.containers[].resources.limits.cpu",
        "2",
        "the managed Redis has this limit",
    ),
)

_AUTOSCALE = "`autoscale`"

#: Fields of a HorizontalPodAutoscaler.
HPA: tuple[Row, ...] = (
    ("spec.scaleTargetRef.name", "", _AUTOSCALE),
    ("spec.scaleTargetRef.kind", "Deployment|StatefulSet", _AUTOSCALE),
    ("spec.scaleTargetRef.apiVersion", "apps/v1", _AUTOSCALE),
)

#: Fields of a ScaledObject.
KEDA: tuple[Row, ...] = (
    ("spec.scaleTargetRef.name", "", "`autoscale` and `kubernetes.autoscaler: keda`"),
    ("spec.scaleTargetRef.kind", "Deployment|StatefulSet", _AUTOSCALE),
    ("spec.scaleTargetRef.apiVersion", "apps/v1", _AUTOSCALE),
    ("spec.pollingInterval", "15", "rendered ScaledObjects use it"),
    ("spec.advanced.scalingModifiers.formula", ".*high.*|.*normal.*|.*low.*", _AUTOSCALE),
    ("spec.advanced.scalingModifiers.metricType", "AverageValue", _AUTOSCALE),
    ("spec.triggers[].metricType", "Utilization", _AUTOSCALE),
)

#: Fields of a trigger on the length of a queue's list.
LIST_TRIGGER: tuple[Row, ...] = (
    ("type", "redis", "`autoscale.queue_depth`"),
    ("name", "", "`autoscale.queue_depth`"),
    ("metadata.listName", "", "`autoscale.queue_depth`: the lists of the pool's priorities"),
    ("metadata.address", "", "taken from `redis`"),
    ("metadata.databaseIndex", "", "taken from `redis`"),
    ("metadata.enableTLS", "", "taken from `redis`"),
    ("authenticationRef.name", "", "rendered with the ScaledObjects"),
)

#: Fields of a PodDisruptionBudget.
DISRUPTION: tuple[Row, ...] = (
    ("spec.selector.**", "", "rendered budgets select the pool's pods"),
    ("spec.unhealthyPodEvictionPolicy", "AlwaysAllow", "rendered budgets use it"),
)

#: Fields of a Service of the api or of Redis.
SERVICE: tuple[Row, ...] = (
    ("spec.selector.**", "", "rendered Services have their own selectors"),
    ("spec.clusterIP", "", _CLUSTER),
    ("spec.clusterIPs[]", "", _CLUSTER),
    ("spec.ipFamilies[]", "", _CLUSTER),
    ("spec.ipFamilyPolicy", "SingleStack", _DEFAULT),
    ("spec.internalTrafficPolicy", "Cluster", _DEFAULT),
    ("spec.sessionAffinity", "None", _DEFAULT),
    ("spec.ports[].name", "", "rendered Services name their ports"),
    ("spec.ports[].protocol", "TCP", _DEFAULT),
    ("spec.ports[].targetPort", "", "rendered Services use it"),
)

#: Fields of an Ingress for the api.
INGRESS: tuple[Row, ...] = (
    ("spec.rules[].http.paths[].path", "/", "`api.ingress`: all paths of the host"),
    ("spec.rules[].http.paths[].pathType", "Prefix", "`api.ingress`: all paths of the host"),
    ("spec.rules[].http.paths[].backend.**", "", "rendered Ingresses point to the api"),
)


def is_rendered(document: Field) -> bool:
    """Whether an object has been rendered by Bananas."""
    return document.text_of(*_MANAGED_BY) == "bananas"
