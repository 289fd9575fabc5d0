"""The static manifest of a plugin: `plugin.toml`, read without importing the plugin."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from moekit.contract.record_kinds import RECORD_KINDS, RecordKind
from moekit.plugins.entry_points import TOO_DEEP
from moekit.text import printable

API_VERSION = "2.0"
_LAST_MINOR = {1: 2, 2: 0}
"""The last minor version of each major whose plugins work here."""

_STRICT = ConfigDict(extra="forbid", frozen=True)
NAME = r"^[a-z][a-z0-9_-]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]
SUMMARY = r"^[^\x00-\x1f\x7f-\x9f]+$"
Summary = Annotated[str, Field(pattern=SUMMARY, max_length=120)]

_MOST_FAULTS = 5
SHA256 = r"^[0-9a-f]{64}$"
Event = Literal["run_started", "run_finished"]


def _provided(kind: RecordKind) -> Any:
    """The type and the field of one kind of record."""
    if kind.described:
        return (dict[Name, Summary], Field(default={}, description=kind.summary))
    return (tuple[Name, ...], Field(default=(), description=kind.summary))


Provides = pydantic.create_model(
    "Provides",
    __config__=_STRICT,
    __doc__="The short names of what the plugin's hooks return; checked when it is activated.",
    **{name: _provided(kind) for name, kind in RECORD_KINDS.items()},
)


class Requirement(BaseModel):
    """An importable module that the plugin needs."""

    model_config = _STRICT

    module: str = Field(description="Name of the module as it is imported.", min_length=1)
    install: str = Field(description="The command that installs it.", min_length=1)


class Input(BaseModel):
    """What a kit or an expert expects to see; conformance checks make synthetic inputs from it."""

    model_config = _STRICT

    name: Name = Field(description="What the input is called, such as `image`.")
    kind: Literal["image", "stack"] = Field(
        description="`image` is one picture, `stack` a sequence of frames or slices."
    )
    channels: Literal[1, 3] = Field(description="1 for grey values, 3 for colour.")
    unit: str = Field(description="Unit of the values, such as `HU`; `1` for none.", min_length=1)
    low: float = Field(description="Least value.", allow_inf_nan=False)
    high: float = Field(description="Greatest value.", allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _range_is_not_empty(self) -> Input:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class Weights(BaseModel):
    """A file of weights that the package brings."""

    model_config = _STRICT

    file: str = Field(
        description="Path of the safetensors file, from the folder of the manifest.",
        pattern=r"^([\w-]+/)*\w[\w.-]*\.safetensors$",
    )
    sha256: str = Field(description="SHA-256 of the file.", pattern=SHA256)
    licence: str = Field(description="SPDX identifier, or the words of the source.", min_length=1)
    source: str = Field(description="Data and command that made them, or paper.", min_length=1)


class Card(BaseModel):
    """What a user must know before relying on the plugin (model card, arXiv:1810.03993)."""

    model_config = _STRICT

    intended_use: str = Field(description="What it is made for.", min_length=1)
    not_for: str = Field(description="What it must not be used for.", min_length=1)
    limitations: str = Field(description="Where it is known to fail or untested.", min_length=1)


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
    listens: tuple[Event, ...] = Field(
        default=(), description="Events of runs that it gets, while it is not disabled."
    )
    inputs: tuple[Input, ...] = Field(default=(), description="What its kits and experts see.")
    weights: tuple[Weights, ...] = Field(default=(), description="Weights that it brings.")
    card: Card | None = Field(
        default=None, description="Intended use and limits; needed by kits and experts."
    )

    def provided(self, kind: str) -> tuple[str, ...]:
        """The short names of one kind of record, a key of `RECORD_KINDS`."""
        return tuple(getattr(self.provides, kind))

    @pydantic.model_validator(mode="after")
    def _api_has_what_is_used(self) -> Manifest:
        for name, kind in RECORD_KINDS.items():
            if getattr(self.provides, name) and not _is_at_least(self.api, kind.since):
                version = ".".join(map(str, kind.since))
                word = name.replace("_", " ")
                raise ValueError(f'{word} came with API {version}; write api = "{version}"')
        return self


def parse_manifest(text: str) -> Manifest:
    """Reads a manifest.

    Raises:
        ValueError: The text is no TOML or breaks the schema; the message names each field.
    """
    try:
        if TOO_DEEP.search(text):
            raise ValueError("a key lies too deep")
        return Manifest.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not TOML: {printable(str(error))}") from error
    except pydantic.ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        faults = [
            printable(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}", most=200)
            for fault in found[:_MOST_FAULTS]
        ]
        more = f"; and {len(found) - _MOST_FAULTS} more" if len(found) > _MOST_FAULTS else ""
        raise ValueError("; ".join(faults) + more) from error


def is_compatible(api: str) -> bool:
    """Whether a plugin of that API version runs here: of a known major, and no newer minor."""
    major, minor = (int(part) for part in re.split(r"\.", api))
    return minor <= _LAST_MINOR.get(major, -1)


def _is_at_least(api: str, wanted: tuple[int, int]) -> bool:
    major, minor = (int(part) for part in api.split("."))
    return (major, minor) >= wanted


def json_schema() -> dict[str, object]:
    """The JSON schema of `plugin.toml`, for editors and other tools."""
    return Manifest.model_json_schema()
