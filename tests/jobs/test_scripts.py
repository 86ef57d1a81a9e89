from __future__ import annotations

from importlib.resources import files

from bananas_topology.jobs import scripts


def test_every_transition_file_is_loaded_once() -> None:
    folder = files("bananas_topology.jobs") / "lua" / "transitions"
    names = {path.name.removesuffix(".lua") for path in folder.iterdir()}

    assert sorted(script.name for script in scripts.ALL) == sorted(names)
