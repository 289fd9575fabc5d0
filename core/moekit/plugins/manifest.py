"""The static manifest of a plugin: `plugin.toml`, read without importing the plugin."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated

import pydantic
from pydantic import BaseModel, ConfigDict, Field

API_VERSION = "1.0"

_STRICT = ConfigDict(extra="forbid", frozen=True)
NAME = r"^[a-z][a-z0-9_-]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]


class Provides(BaseModel):
    """The short names of what the plugin's hooks return; checked when it is activated."""

    model_config = _STRICT

    kits: tuple[Name, ...] = Field(default=(), description="Domain kits.")
    experts: tuple[Name, ...] = Field(default=(), description="Specialists.")
    gates: tuple[Name, ...] = Field(default=(), description="Gating policies.")
    datasets: tuple[Name, ...] = Field(default=(), description="Loaders.")
    metrics: tuple[Name, ...] = Field(default=(), description="Metrics.")


class Requirement(BaseModel):
    """An importable module that the plugin needs."""

    model_config = _STRICT

    module: str = Field(description="Name of the module as it is imported.", min_length=1)
    install: str = Field(description="The command that installs it.", min_length=1)


class Manifest(BaseModel):
    """What a plugin says of itself."""

    model_config = _STRICT

    name: Name = Field(description="Short name of the plugin.")
    api: str = Field(
        description="Version of the plugin contract, such as 1.0.",
        pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$",
    )
    summary: str = Field(description="One line for lists.", min_length=1, max_length=120)
    domain: Name = Field(description="The field it serves; `any` for neutral plugins.")
    hooks: str = Field(
        description="The module that implements the hooks.", pattern=r"^[A-Za-z_][\w.]*$"
    )
    provides: Provides = Field(description="What the hooks return.")
    requires: tuple[Requirement, ...] = Field(
        default=(), description="Modules it needs, with the command that installs each."
    )


def parse_manifest(text: str) -> Manifest:
    """Reads a manifest.

    Raises:
        ValueError: The text is no TOML or breaks the schema; the message names each field.
    """
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}") from error
    except pydantic.ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise ValueError("; ".join(faults)) from error


def is_compatible(api: str) -> bool:
    """Whether a plugin of that API version runs here: same major, no newer minor."""
    major, minor = (int(part) for part in re.split(r"\.", api))
    own_major, own_minor = (int(part) for part in API_VERSION.split("."))
    return major == own_major and minor <= own_minor
