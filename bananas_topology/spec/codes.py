"""Every code of a diagnostic, what it means, and the smallest file part that has it.

Codes are for ever: BT0xx the file and its YAML, BT1xx its shape, BT2xx what it means, BT3xx
warnings. The README's table is made from this one.
"""

from __future__ import annotations

#: Code to meaning and example.
CODES: dict[str, tuple[str, str]] = {
    "BT001": ("The file cannot be read", "bananas validate nowhere.yaml"),
    "BT002": ("The file is larger than 1 MiB", ""),
    "BT003": ("The file is not UTF-8 text", ""),
    "BT004": ("The file is not YAML", "name: a: b"),
    "BT005": ("A key is given twice in one map", "{mode: thin, mode: default}"),
    "BT006": ("Lists and maps are nested more than 50 deep", "[[[[…"),
    "BT007": ("An alias is unknown, repeats itself or grows too large", "env: *nowhere"),
    "BT008": ("A tag is not known, or its value does not fit", "replicas: !!int many"),
    "BT009": ("The file holds a second document", "---"),
    "BT010": ("The file is empty", ""),
    "BT011": ("A key is a list or a map", "? [a, b]"),
    "BT012": ("A `$` begins no variable", "image: worker$"),
    "BT013": ("A variable is not set and has no default", "image: ${IMAGE}"),
    "BT014": ("What is to be merged is no map", "<<: 3"),
    "BT100": ("There are too many faults to show them all", ""),
    "BT101": ("A value is of the wrong kind", "concurrency: many"),
    "BT102": ("A field is missing", "schedules: {nightly: {job: report}}"),
    "BT103": ("A field is not known", "concurency: 10"),
    "BT104": ("A value is none of those there are", "mode: specialised"),
    "BT105": ("A number or a duration is out of range", "concurrency: 5000"),
    "BT106": ("A text is not of the form expected", "job_timeout: 5 minutes"),
    "BT107": ("A list or map is empty, or repeats an entry", "priorities: [high, high]"),
    "BT108": ("Exactly one of some fields was expected", "disruption: {}"),
    "BT201": ("A job's priority is one with which no pool takes it", "jobs: {a: {priority: low}}"),
    "BT202": ("A declared job type is taken by no pool", "jobs: {a: {}}"),
    "BT203": ("A scheduled job type is taken by no pool", "nightly: {job: a, cron: …}"),
    "BT204": ("There are schedules, but no scheduler", "schedules: {…}"),
    "BT205": ("There are retries, but no scheduler", "max_retries: 3"),
    "BT206": ("Pools run jobs, but there are no handlers", "pools: {worker: {}}"),
    "BT210": ("A specialized pool has no priorities", "mode: specialized"),
    "BT211": ("A job-specialized pool has no job types", "mode: job-specialized"),
    "BT212": ("Job types are given in a mode that ignores them", "{mode: thin, job_types: [a]}"),
    "BT213": ("A scheduler-only pool has what workers have", "{mode: scheduler-only, grace: 5m}"),
    "BT214": ("A backoff ends below its beginning", "backoff: {base: 1m, cap: 1s}"),
    "BT215": ("A pool has a name that is taken", "pools: {redis: {}}"),
    "BT220": ("An autoscaler's min is above its max", "autoscale: {min: 5, max: 2, cpu: 70}"),
    "BT221": ("An autoscaler has no target", "autoscale: {min: 1, max: 5}"),
    "BT222": ("An autoscaler aims at a share of nothing", "autoscale: {min: 1, max: 5, cpu: 70}"),
    "BT223": ("Scaling to none takes KEDA and a queue depth", "autoscale: {min: 0, max: 5}"),
    "BT224": ("More is requested than the limit", "{requests: {cpu: 2}, limits: {cpu: 1}}"),
    "BT225": ("The api's replicas have too few host ports", "api: {replicas: 2, publish: 8080}"),
    "BT230": ("A variable is set that Bananas sets itself", "env: {WORKER_MODE: thin}"),
    "BT231": ("A variable has a value and is secret too", "{env: {A: b}, secrets: [A]}"),
    "BT232": ("`redis.url` holds no URL", "redis: {url: localhost}"),
    "BT233": ("A key prefix has half a hash tag", 'key_prefix: "{bananas"'),
    "BT234": ("An address range is none", "egress: [{cidr: 10.0.0.1/8}]"),
    "BT235": ("A label is not such as Kubernetes takes", "labels: {team: a b}"),
    "BT236": ("A patch operation is not complete", "json: [{op: add, path: /a}]"),
    "BT240": ("A cron expression is not valid", 'cron: "61 * * * *"'),
    "BT241": ("A time zone is not known", "timezone: Europe/Roma"),
    "BT242": ("A schedule never fires", 'cron: "0 0 30 2 *"'),
    "BT243": ("A payload holds what JSON cannot", "payload: {x: .inf}"),
    "BT301": ("A priority is taken by no pool", "{mode: specialized, priorities: [high]}"),
    "BT302": ("A stop is given less time than a job", "{job_timeout: 10m, grace: 30s}"),
    "BT303": ("Two pools differ in nothing", "pools: {a: {}, b: {}}"),
    "BT304": ("A thin pool stands beside others", "pools: {a: {mode: thin}, b: {}}"),
    "BT305": ("Processes share a log file", "{replicas: 2, logging: {file: {enabled: true}}}"),
    "BT310": ("An autoscaler looks at memory alone", "autoscale: {min: 1, max: 5, memory: 70}"),
    "BT311": ("Replicas are outside of the autoscaler's bounds", "{replicas: 9, autoscale: {…}}"),
    "BT312": ("A disruption budget blocks drains", "{replicas: 1, disruption: {min_available: 1}}"),
    "BT320": ("A password stands in the file", "url: redis://:hunter2@host"),
    "BT321": ("A variable looks like a secret", "env: {DB_PASSWORD: hunter2}"),
}  # fmt: skip


def markdown_table() -> str:
    """The codes as the README shows them."""
    lines = ["| Code | Meaning | For example |", "|---|---|---|"]
    for code, (meaning, example) in CODES.items():
        shown = f"`{example.replace('|', chr(92) + '|')}`" if example else ""
        lines.append(f"| {code} | {meaning} | {shown} |")
    return "\n".join(lines)
