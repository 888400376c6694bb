"""What `coach up` shows: a line for each part, a moving one for what takes long.

Everything goes to stderr, where losing the terminal does not matter; stdout is for the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

NAME_WIDTH = 16
SPINNER_WIDTH = 2


class Screen:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)

    def did(self, part: str, what: str) -> None:
        """Say what became of `part`."""
        self._line("green", part, what)

    def note(self, part: str, what: str) -> None:
        """Say what the user should know of `part`."""
        self._line("yellow", part, what)

    def result(self, what: str) -> None:
        """Say what the command was run for, as it is: on standard output."""
        with contextlib.suppress(OSError):
            print(what, flush=True)  # noqa: T201 - rich would wrap it

    def failed(self, what: str) -> None:
        """Say why nothing goes on."""
        self._print(Text(what, style="red"))

    @contextlib.contextmanager
    def working(self, part: str, what: str) -> Iterator[Callable[[str], None]]:
        """Show that `part` takes its time; gives a function that says how far it is."""
        beginning = f"{part:<{NAME_WIDTH}} {what}"
        if not self._console.is_terminal:
            yield lambda _: None
            return
        with self._console.status(Text(beginning)) as status:
            yield lambda detail: status.update(self._one_line(f"{beginning}: {detail}"))

    def _one_line(self, what: str) -> Text:
        line = Text(what)
        line.truncate(self._console.width - SPINNER_WIDTH, overflow="ellipsis")
        return line

    def _line(self, style: str, part: str, what: str) -> None:
        self._print(Text.assemble((f"{part:<{NAME_WIDTH}} ", style), what))

    def _print(self, text: Text) -> None:
        with contextlib.suppress(OSError):  # a closed terminal must not keep us from stopping
            self._console.print(text, soft_wrap=True)
