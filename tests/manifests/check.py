"""Holds deploy/ and its documents against Kubernetes' schemas, the daemon's own `check` and `--help`, systemd, and what they
say of each other.

Arguments: the workspace's directory, and the program `interceptor`. Prints a line for each claim, as Rust's tests do.
"""

import sys
import traceback
from pathlib import Path

import claims
import commands
import kubernetes
import units
from parts import Deploy, Skip


def main():
    deploy = Deploy(*(Path(argument).resolve() for argument in sys.argv[1:3]))
    failed = 0
    for module in (kubernetes, claims, commands, units):
        for name, claim in vars(module).items():
            if not name.startswith("test_"):
                continue
            try:
                claim(deploy)
                outcome = "ok"
            except Skip as reason:
                outcome = f"ignored, {reason}"
            except Exception:
                traceback.print_exc()
                outcome = "FAILED"
                failed += 1
            title = name.removeprefix("test_")
            print(f"test manifests::{module.__name__}::{title} ... {outcome}", flush=True)
    sys.exit(1 if failed else 0)


main()
