"""Reads what the containers of a pool, the scheduler or the api get from elsewhere."""

from __future__ import annotations

from bananas_topology.spec.container import (
    Container,
    InitCommand,
    KeyReference,
    Source,
    VariableSource,
    Volume,
)
from bananas_topology.spec.section import SectionReader


def container_of(owner: SectionReader) -> Container:
    """Everything of a section that is about its containers."""
    return Container(
        references={
            name: KeyReference(
                source=_source(section),
                key=section.optional_string("key") or name,
                is_optional=section.boolean("optional"),
            )
            for name, section in owner.section("env").entries()
            if section.node is not None
        },
        env_from=tuple(
            VariableSource(_source(each), each.string("prefix"), each.boolean("optional"))
            for each in owner.sections("env_from")
        ),
        volumes=tuple(
            _volume(name, section) for name, section in owner.section("volumes").entries()
        ),
        init=_init(owner) if owner.has_field("init") else (),
        priority_class=owner.optional_string("priority_class"),
        runtime_class=owner.optional_string("runtime_class"),
    )


def _init(owner: SectionReader) -> tuple[InitCommand, ...]:
    return tuple(
        InitCommand(name, section.strings("command"), section.optional_string("image"))
        for name, section in owner.section("init").entries()
    )


def _source(section: SectionReader) -> Source:
    secret = section.optional_string("secret")
    return Source(secret or section.string("config"), is_secret=secret is not None)


def _volume(name: str, section: SectionReader) -> Volume:
    has_source = section.has("secret") or section.has("config")
    return Volume(
        name=name,
        path=section.string("path"),
        claim=section.optional_string("claim"),
        temporary_bytes=section.memory_bytes("temporary"),
        source=_source(section) if has_source else None,
        is_read_only=section.boolean("read_only") or has_source,
    )
