from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.spec.load import CheckResult, check
from bananas_topology.spec.model import Topology

BASE = """\
version: 1
name: shop
image: shop:dev
handlers: [shop.jobs]
defaults:
  env: {RELEASE: dev, REGION: eu}
pools:
  worker:
    replicas: 3
    priorities: [high, normal]
    disruption: {min_available: 0}
  low: {priorities: [low]}
jobs:
  email.send: {max_retries: 1}
"""


class Files:
    """A base and overlays in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = self.write("base.yaml", BASE)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def check(self, *overlays: str, overrides: tuple[str, ...] = ()) -> CheckResult:
        paths = [self.write(f"overlay{at}.yaml", text) for at, text in enumerate(overlays)]
        return check(self.base, {"TAG": "1.4"}, overlays=paths, overrides=overrides)

    def load(self, *overlays: str, overrides: tuple[str, ...] = ()) -> Topology:
        result = self.check(*overlays, overrides=overrides)
        assert result.topology is not None, result.diagnostics
        return result.topology

    def lines(self, *overlays: str, overrides: tuple[str, ...] = ()) -> list[str]:
        """Diagnostics with the names of their files."""
        found = self.check(*overlays, overrides=overrides).diagnostics
        return [str(each).replace(f"{self.directory}/", "") for each in found]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_overlay_changes_what_it_names_and_nothing_else(files: Files) -> None:
    topology = files.load("image: shop:${TAG}\npools: {worker: {replicas: 7}}\n")

    worker, low = topology.pools
    assert topology.image == "shop:1.4"
    assert (worker.replicas, worker.worker.priorities) == (7, ("high", "normal"))
    assert low == files.load("image: shop:1.4").pools[1]
    assert topology.path == files.base


def test_maps_are_merged_by_key_and_lists_are_replaced(files: Files) -> None:
    topology = files.load(
        "defaults: {env: {RELEASE: prod, EXTRA: 'yes'}}\n"
        "pools: {low: {priorities: [low, normal]}, more: {priorities: [high]}}\n"
    )

    assert topology.pools[0].env == {"RELEASE": "prod", "REGION": "eu", "EXTRA": "yes"}
    assert topology.pools[1].worker.priorities == ("normal", "low")
    assert [pool.name for pool in topology.pools] == ["worker", "low", "more"]


def test_the_last_overlay_wins_and_the_command_line_wins_over_it(files: Files) -> None:
    overlays = ("pools: {worker: {replicas: 2}}", "pools: {worker: {replicas: 3}}")

    assert files.load(*overlays).pools[0].replicas == 3
    overridden = files.load(*overlays, overrides=("pools.worker.replicas=4",))
    assert overridden.pools[0].replicas == 4


@pytest.mark.parametrize("null", ["null", "~"])
def test_null_removes_what_the_files_before_it_have(files: Files, null: str) -> None:
    topology = files.load(f"pools: {{low: {null}}}\ndefaults: {{env: {{REGION: {null}}}}}")

    assert [pool.name for pool in topology.pools] == ["worker"]
    assert topology.pools[0].env == {"RELEASE": "dev"}


def test_a_null_that_removes_nothing_is_an_error_that_says_so(files: Files) -> None:
    lines = files.lines(
        "pools: {worker: {autoscale: null}, lwo: null}\nx-notes: null",
        overrides=("defaults.env.REGIO=null",),
    )

    assert lines == [
        "overlay0.yaml:1:29: error BT017: null removes nothing: no file before this one has "
        '"autoscale" of pool "worker"',
        "overlay0.yaml:1:41: error BT017: null removes nothing: no file before this one has pool "
        '"lwo" (did you mean "low"?)',
        "--set:1:20: error BT017: null removes nothing: no file before this one has "
        '"defaults.env.REGIO" (did you mean "REGION"?)',
    ]


def test_null_is_a_value_in_a_payload(files: Files) -> None:
    files.base.write_text(BASE + "scheduler: {}\nschedules: {a: {cron: '* * * * *', job: a}}\n")

    topology = files.load("schedules: {a: {payload: {b: null}}}")

    assert topology.schedules["a"].payload == {"b": None}


def test_a_value_left_out_removes_nothing(files: Files) -> None:
    [line] = files.lines("pools:\n  worker:\n    # replicas: 3\n")

    assert line.startswith("overlay0.yaml:2:3: error BT101: ")


def test_an_alternative_replaces_the_other_and_keeps_the_rest(files: Files) -> None:
    base = (
        "pools: {worker: {env: {A: {secret: a, key: k}}, "
        "volumes: {cache: {path: /c, temporary: 1Gi}, data: {path: /d, temporary: 1Gi}}}}"
    )
    topology = files.load(
        base,
        "pools: {worker: {volumes: {cache: {claim: shared}}, env: {A: {config: b}}}}",
        overrides=("pools.worker.volumes.data.temporary=9Gi",),
    )

    cache, data = topology.pools[0].container.volumes
    assert (cache.path, cache.claim, cache.temporary_bytes) == ("/c", "shared", None)
    assert (data.path, data.temporary_bytes) == ("/d", 9 * 2**30)
    reference = topology.pools[0].container.references["A"]
    assert (reference.source.name, reference.source.is_secret, reference.key) == ("b", False, "k")


def test_entries_with_the_name_of_an_alternative_are_not_alternatives(files: Files) -> None:
    base = (
        "pools: {worker: {env: {secret: a, config: b}, "
        "volumes: {secret: {path: /s, secret: tls}, config: {path: /c, config: app}}}}"
    )
    topology = files.load(
        base,
        "pools: {worker: {env: {config: c}, volumes: {config: {path: /d}}}}",
        overrides=("pools.worker.volumes.claim={path: /e, claim: data}",),
    )

    worker = topology.pools[0]
    assert (worker.env["secret"], worker.env["config"]) == ("a", "c")
    assert [(each.name, each.path) for each in worker.container.volumes] == [
        ("secret", "/s"),
        ("config", "/d"),
        ("claim", "/e"),
    ]


@pytest.mark.parametrize(
    ("base", "overlay"),
    [
        ("team-7", "{create: false}"),
        ("{create: false, name: prod}", "team-7"),
        ("{create: false}", "{name: team-7}"),
    ],
)
def test_a_namespace_is_merged_in_whichever_form_it_is(
    files: Files, base: str, overlay: str
) -> None:
    kubernetes = files.load(
        f"kubernetes: {{namespace: {base}}}", f"kubernetes: {{namespace: {overlay}}}"
    ).kubernetes

    assert (kubernetes.namespace, kubernetes.creates_namespace) == ("team-7", False)


def test_an_invalid_name_of_a_namespace_is_at_the_overlay(files: Files) -> None:
    base = "kubernetes: {namespace: {create: false}}"
    [line] = files.lines(base, "kubernetes:\n  namespace: Team")

    assert line.startswith("overlay1.yaml:2:14: error BT106: ")


def test_one_of_several_forms_replaces_another(files: Files) -> None:
    topology = files.load("pools: {worker: {disruption: {max_unavailable: 1}}}")
    explicit = "pools: {worker: {disruption: {min_available: null, max_unavailable: 1}}}"

    assert files.load(explicit).pools == topology.pools
    assert topology.pools[0].disruption is not None
    assert topology.pools[0].disruption.min_available is None
    assert topology.pools[0].disruption.max_unavailable == 1


def test_a_diagnostic_is_at_the_file_that_has_the_value(files: Files) -> None:
    files.base.write_text(BASE.replace("[low]", "[lwo]"))

    lines = files.lines(
        "pools:\n  worker: {replicas: many}\n",
        "# nothing\nimgae: x\n",
        overrides=("pools.low.concurrency=5000", "image=a b", "pools.low.max_retries=[x"),
    )

    places = [(line.split(": ")[0], line.split(" ")[2].rstrip(":")) for line in lines]
    assert places == [
        ("base.yaml:12:22", "BT104"),
        ("overlay0.yaml:2:22", "BT101"),
        ("overlay1.yaml:2:1", "BT103"),
        ("--set:1:23", "BT105"),
        ("--set:2:7", "BT106"),
        ("--set:3:25", "BT004"),
    ]


def test_a_conflict_between_files_is_at_what_was_changed(files: Files) -> None:
    lines = files.lines("jobs: {email.send: {priority: low}}", "pools: {low: null}")

    assert lines[-1].startswith("overlay0.yaml:1:31: error BT201: no pool accepts")


def test_an_error_of_an_overlay_alone_is_reported_once(files: Files) -> None:
    [line] = files.lines("pools: {worker: {replicas: 1, replicas: 2}}", "image: other")

    assert line.startswith("overlay0.yaml:1:31: error BT005")


def test_an_overlay_that_cannot_be_read_is_a_diagnostic(files: Files) -> None:
    result = check(files.base, {}, overlays=[files.directory / "nowhere.yaml"])

    assert [each.code for each in result.diagnostics] == ["BT001"]
    assert result.diagnostics[0].file.endswith("nowhere.yaml")
    assert result.topology is None


def test_an_overlay_must_be_a_map(files: Files) -> None:
    [line] = files.lines("- replicas: 5\n")

    assert "overlay0.yaml:1:1: error BT016" in line


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("defaults.env.RELEASE=prod", "prod"),
        ("defaults.env.RELEASE=1.10", "1.10"),
        ("defaults.env.RELEASE=a=b", "a=b"),
        ("defaults.env.RELEASE=", ""),
        ("defaults.env.RELEASE='x: y'", "x: y"),
        ("defaults.env.RELEASE=v${TAG}", "v1.4"),
    ],
)
def test_an_override_is_written_as_in_the_file(files: Files, override: str, value: str) -> None:
    assert files.load(overrides=(override,)).pools[0].env["RELEASE"] == value


@pytest.mark.parametrize("value", ["#fff", " # nothing", "&anchor", "!!null"])
def test_an_override_of_which_yaml_leaves_nothing_is_an_error_at_its_value(
    files: Files, value: str
) -> None:
    [line] = files.lines(overrides=("image=a", f"defaults.env.RELEASE={value}"))

    assert line.startswith("--set:2:22: error BT010: the value is empty (quote it")


def test_overrides_take_lists_and_maps_and_null(files: Files) -> None:
    topology = files.load(
        overrides=(
            "pools.low.priorities=[low, normal]",
            "pools.extra={priorities: [high], replicas: 2}",
            "pools.worker.replicas=5",
            "pools.worker.replicas=null",
        )
    )

    assert topology.pools[1].worker.priorities == ("normal", "low")
    assert topology.pools[2].replicas == 2
    assert topology.pools[0].replicas == 1


def test_a_dot_in_a_name_is_escaped(files: Files) -> None:
    topology = files.load(overrides=(r"jobs.email\.send.max_retries=9",))

    assert topology.jobs["email.send"].max_retries == 9


@pytest.mark.parametrize(
    "override", ["replicas", "=5", "", ".a=1", "a..b=1", "a.=1", "pools.worker"]
)
def test_an_override_without_path_or_value_is_refused(files: Files, override: str) -> None:
    with pytest.raises(ValueError, match="expected PATH=VALUE"):
        files.check(overrides=(override,))


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("pools.wroker.replicas=5", 'did you mean "worker"?'),
        ("pools.x.replicas=5", "a new pool belongs in a file"),
    ],
)
def test_a_pool_that_only_the_command_line_names_is_a_warning(
    files: Files, override: str, hint: str
) -> None:
    name = override.split(".")[1]

    (line,) = files.lines(overrides=(override,))

    assert line.startswith(f'--set:1:7: warning BT306: --set adds a new pool "{name}"')
    assert hint in line


def test_a_pool_of_a_file_that_the_command_line_changes_is_no_warning(files: Files) -> None:
    assert files.lines("pools: {more: {}}", overrides=("pools.more.replicas=2",)) == []
