"""What git's hooks call: kept apart, since a push waits for it and nothing more may be imported than it needs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from hooks.check import pre_receive as check
from server.core.config import Config


def pre_receive(config: Config, _arguments: argparse.Namespace) -> int:
    """The second half of the pre-receive hook: git's lines on standard input, the repository in GIT_DIR."""
    count = int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0") or 0)
    options = [os.environ.get(f"GIT_PUSH_OPTION_{number}", "") for number in range(count)]
    repo = Path(os.environ.get("GIT_DIR", ".")).absolute()
    said, code = check(config, repo, sys.stdin.read().splitlines(), options)
    for line in said:
        print(line, file=sys.stderr)
    return code
