"""Which state directory belongs to which topology, also after renames."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.supervisor.directories import (
    Owner,
    check_rename,
    find_directory,
    owner_of,
    rename,
    state_directory,
    unused_data,
)
from bananas_topology.supervisor.record import RunRecord, write
from bananas_topology.system.processes import start_time_token


def _give_data(directory: Path) -> None:
    (directory / "data" / "appendonlydir").mkdir(parents=True)
    (directory / "data" / "appendonlydir" / "appendonly.aof").write_text("jobs")


def _run_in(directory: Path, name: str) -> None:
    """Make this process the running `up` of a directory."""
    token = start_time_token(os.getpid()) or ""
    write(directory, RunRecord(os.getpid(), token, name, "f", "redis://h", "p", "2026"))


def test_topology_has_the_same_directory_each_time(tmp_path: Path) -> None:
    first = state_directory(tmp_path, "shop", "topology.yaml")

    assert first == tmp_path / ".bananas" / "shop"
    assert state_directory(tmp_path, "shop", "topology.yaml") == first
    assert owner_of(first) == Owner("shop", "topology.yaml")


def test_file_whose_topology_was_renamed_keeps_its_directory_back_and_forth(
    tmp_path: Path,
) -> None:
    first = state_directory(tmp_path, "shop", "topology.yaml")

    for name in ("store", "shop", "market"):
        assert state_directory(tmp_path, name, "topology.yaml") == first
        assert owner_of(first).name == name


def test_other_file_with_another_name_has_a_directory_of_its_own(tmp_path: Path) -> None:
    first = state_directory(tmp_path, "shop", "shop.yaml")
    _give_data(first)

    other = state_directory(tmp_path, "store", "store.yaml")

    assert other == tmp_path / ".bananas" / "store"
    assert unused_data(other) == [(first, Owner("shop", "shop.yaml"))]


def test_name_of_a_renamed_directory_can_be_used_again(tmp_path: Path) -> None:
    first = state_directory(tmp_path, "shop", "topology.yaml")
    rename(first, "store", "topology.yaml")

    again = state_directory(tmp_path, "shop", "shop.yaml")

    assert again == tmp_path / ".bananas" / "shop-2"
    assert find_directory(tmp_path, "shop", "") == again
    assert find_directory(tmp_path, "store", "") == first


def test_directory_of_an_older_release_is_found_by_its_name(tmp_path: Path) -> None:
    old = tmp_path / ".bananas" / "shop"
    old.mkdir(parents=True)

    assert state_directory(tmp_path, "shop", "topology.yaml") == old


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": 1, "x": 2}', "\0"])
def test_unreadable_owner_is_the_one_that_the_directory_is_called_after(
    tmp_path: Path, content: str
) -> None:
    directory = state_directory(tmp_path, "shop", "topology.yaml")
    (directory / "topology.json").write_text(content)

    assert owner_of(directory) == Owner("shop")


def test_directory_of_a_running_topology_is_not_renamed_by_a_start(tmp_path: Path) -> None:
    first = state_directory(tmp_path, "shop", "topology.yaml")
    _run_in(first, "shop")

    assert state_directory(tmp_path, "store", "topology.yaml") == first
    assert owner_of(first).name == "shop"


def test_data_is_adopted_by_name_unless_it_is_in_use_or_would_hide_other_data(
    tmp_path: Path,
) -> None:
    shop = state_directory(tmp_path, "shop", "shop.yaml")
    store = state_directory(tmp_path, "store", "store.yaml")
    _give_data(shop)
    with pytest.raises(ControlFailed, match='no data of a topology "x" here; there is: shop, s'):
        state_directory(tmp_path, "store", "store.yaml", adopt="x")
    _run_in(shop, "shop")
    with pytest.raises(ControlFailed, match='"shop" is running'):
        state_directory(tmp_path, "store", "store.yaml", adopt="shop")
    (shop / "up.json").unlink()
    _give_data(store)
    with pytest.raises(ControlFailed, match='already has the jobs of a topology "store"'):
        state_directory(tmp_path, "store", "store.yaml", adopt="shop")

    assert state_directory(tmp_path, "market", "market.yaml", adopt="shop") == shop
    assert owner_of(shop) == Owner("market", "market.yaml")


def test_running_topology_is_not_renamed_to_one_that_runs(tmp_path: Path) -> None:
    shop = state_directory(tmp_path, "shop", "shop.yaml")
    store = state_directory(tmp_path, "store", "store.yaml")
    check_rename(shop, "store")

    _run_in(store, "store")

    with pytest.raises(ControlFailed, match='"store" is already running here'):
        check_rename(shop, "store")
