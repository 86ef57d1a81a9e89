"""The JSON Schemas of payloads: of which types there are some, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from bananas_topology.jobs.job_types import MAX_TOTAL_BYTES, encode_schemas
from bananas_topology.jobs.payloads import PayloadDecoder


@dataclass
class Address:
    street: str
    city: str = "Rome"


@dataclass
class Person:
    name: str
    address: Address
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    width: int
    height: NotRequired[int]


class Model(pydantic.BaseModel):
    width: int = pydantic.Field(ge=1)


@dataclass
class WithModel:
    model: Model


def test_a_dataclass_is_described_with_what_is_inside() -> None:
    schema = PayloadDecoder(Person).schema()

    assert schema is not None
    assert schema["$ref"] == "#/$defs/Person"
    person = schema["$defs"]["Person"]
    assert person["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert person["required"] == ["name", "address"]
    assert schema["$defs"]["Address"]["properties"]["city"]["default"] == "Rome"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Options, ["width"]),
        (Model, ["width"]),
        (WithModel, ["model"]),
        (msgspec.defstruct("Struct", [("x", int)]), ["x"]),
    ],
    ids=["TypedDict", "pydantic", "model in a dataclass", "Struct"],
)
def test_every_kind_of_annotation_is_described(annotation: Any, expected: list[str]) -> None:
    schema = PayloadDecoder(annotation).schema() or {}
    name = schema.get("$ref", "").rpartition("/")[2]

    assert schema.get("$defs", {}).get(name, schema)["required"] == expected


@pytest.mark.parametrize("annotation", [Any, object])
def test_nothing_is_said_of_an_annotation_without_a_schema(annotation: Any) -> None:
    assert not PayloadDecoder(annotation).schema()


def test_large_schemas_are_left_out() -> None:
    small = {"type": "string"}
    large = {"description": "é" * 10_000}
    many = {f"type-{number:03}": {"description": "x" * 10_000} for number in range(100)}

    assert msgspec.json.decode(encode_schemas({"a": small, "b": large, "c": None}).text) == {
        "a": small
    }
    assert len(encode_schemas(many).text) < MAX_TOTAL_BYTES + 1_000
    assert encode_schemas({"a": None}).digest == ""


def test_equal_schemas_have_equal_digests() -> None:
    one, other = {"a": {"type": "string"}}, {"b": {"type": "string"}}

    assert encode_schemas(one | other) == encode_schemas(other | one)
    assert encode_schemas(one).digest != encode_schemas(other).digest
