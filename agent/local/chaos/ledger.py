"""What campaigns have come to, kept on disk: the same command goes on where it was stopped.

A ledger belongs to a seed and to the code that was broken: what another version survived proves
nothing for this one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import agent
import migrations
import persistence
import prompts
from agent.local import state
from agent.local.chaos.left_out import LeftOut
from agent.local.chaos.outcome import Outcome
from agent.local.chaos.plan import Level

_CODE = (agent, migrations, persistence, prompts)
_KINDS = (".py", ".md", ".sql", ".c")


def fingerprint() -> str:
    """Return what stands for the code as it is now: hex, 16 digits."""
    digest = hashlib.sha256()
    for package in _CODE:
        root = Path(next(iter(package.__path__)))
        for path in sorted(path for path in root.rglob("*") if path.suffix in _KINDS):
            digest.update(f"{path.relative_to(root.parent)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Ledger:
    """The outcomes of one seed, by level and number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        for outcome in _read(path):
            self._outcomes[outcome.level, outcome.number] = outcome

    @classmethod
    def of(cls, folder: Path, seed: int, code: str, missing: Sequence[LeftOut] = ()) -> Ledger:
        """Return the ledger of `seed` in `folder`, for the code of that fingerprint.

        Where faults were left out it is another one: they are played once they can be.
        """
        without = "".join(f"-without-{kind}" for one in missing for kind in one.kinds)
        return cls(folder / f"ledger-{seed}-{code}{without}.jsonl")

    def add(self, outcome: Outcome) -> None:
        """Keep `outcome`, durably."""
        with state.open_private(self._path, "a") as file:
            # a line of its own, whatever a kill has left before it
            file.write(f"\n{json.dumps(outcome.to_json())}\n")
            file.flush()
            os.fsync(file.fileno())
        self._outcomes[outcome.level, outcome.number] = outcome

    def done(self, level: Level, faults: int) -> list[Outcome]:
        """Return the first outcomes of `level`, as many as have `faults` faults together.

        Fewer, if a campaign that comes before is not there yet.
        """
        found: list[Outcome] = []
        while sum(outcome.broken for outcome in found) < faults:
            outcome = self._outcomes.get((level.value, len(found) + 1))
            if outcome is None:
                break
            found.append(outcome)
        return found


def _read(path: Path) -> Iterator[Outcome]:
    """Yield what is in the ledger; the line at which a run was killed is played again."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        yield Outcome.from_json(entry)
