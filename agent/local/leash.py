"""Run a command that does not outlive its parent: `leash.py <parent's pid> <command> …`.

Between a fork and an exec nothing but async-signal-safe code may run in a process with threads, so
the parent's death signal is asked for here, in a fresh interpreter that then becomes the command.
Linux only; elsewhere the next start finds what was left (see `processes`). The signal comes when
the *thread* that forked ends: only main threads start children.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command in `arguments[1:]`, unless the parent `arguments[0]` is gone already."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - elsewhere it would only cost time

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(arguments[0]):
        raise SystemExit("the parent is gone")
    try:
        os.execvp(arguments[1], arguments[1:])  # noqa: S606 - the command is this program's own
    except OSError as error:
        raise SystemExit(f"{arguments[1]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
