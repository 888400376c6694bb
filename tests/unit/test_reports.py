"""What commands print of a database, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from rich.table import Table
from rich.text import Text

from agent.commands.reports import Audit
from agent.printing import print_table
from persistence.verdicts import Finding, Problem, Standing, Verdict


async def cut_off() -> AsyncIterator[Verdict]:
    """Give two verdicts; then the connection is gone."""
    session = uuid4()
    yield Verdict(uuid4(), Standing.PROVEN)
    yield Verdict(session, Standing.WRONG, [Finding(session, Problem.RECEIPT_BROKEN)])
    raise ConnectionError


@pytest.mark.parametrize("as_json", [True, False])
async def test_an_audit_that_is_cut_off_says_so_and_what_it_found(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Audit(as_json=as_json)
    with pytest.raises(ConnectionError), report.written():
        await report.follow(cut_off(), 3)
    said = capsys.readouterr().out
    if as_json:
        found = json.loads(said)
        assert (found["complete"], found["sessions"], len(found["findings"])) == (False, 2, 1)
    else:
        assert "2 sessions: 1 proven, 1 wrong so far: the rest was not seen" in said


def test_a_table_is_printed_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("id", "client", box=None)
    table.add_row(session := str(uuid4()), "Ada Lovelace of Ockham Park")
    print_table(table, Text("no sessions"))
    assert f"{session}  Ada Lovelace of Ockham Park" in capsys.readouterr().out
