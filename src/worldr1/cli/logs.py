"""Progress and warnings of the commands: to standard error, so that standard output stays for results."""

from __future__ import annotations

import logging


def configure_logging(level: int = logging.INFO) -> None:
    """Send the package's log to standard error; other libraries only speak from warnings on."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("worldr1").setLevel(level)
