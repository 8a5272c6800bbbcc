"""Rich consoles that no text from outside can drive."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ntrader.cli.terminal import plain


class PlainConsole(Console):
    """A console for which text is text: no markup, no emoji codes, nothing that cannot be seen.

    It is the last place before the terminal, so that no table can forget it.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, and replace what could drive the terminal; Rich's own controls stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(plain(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints: Rich would end the program."""
        raise
