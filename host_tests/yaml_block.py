"""A YAML block of diagnostics: read line by line, and checked without being loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import yaml

_PLAIN_YAML = re.compile(r"(?:[A-Za-z_][\w-]*:(?: +[\w./][\w ./@%+()=-]*)?\n)+")
SUSPECT = re.compile(r"not\s+ok(?!\S)|bail out!", re.IGNORECASE)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Block:
    """A YAML block that is being read."""

    indent: int
    line: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    suspect: bool = False
    """Whether a line looks like a failure: what a block that is never closed must not hide."""


@lru_cache(maxsize=256)
def yaml_fault(text: str) -> str | None:
    """What is wrong with a YAML text, if anything; the usual flat block is known to be good without parsing it."""
    if _PLAIN_YAML.fullmatch(text):
        return None
    try:
        for _ in yaml.parse(text, Loader=_LOADER):
            pass
    except yaml.MarkedYAMLError as error:
        place = f" (its line {error.problem_mark.line + 1})" if error.problem_mark else ""
        return f"{error.problem or 'not YAML'}{place}"
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return " ".join(str(error).split())[:200] or "not YAML"
    return None
