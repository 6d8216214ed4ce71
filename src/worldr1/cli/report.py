"""`worldr1 report`: one self-contained HTML page about a run."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def report(run: Path) -> int:
    """Write report.html into a run directory from what `worldr1 train` and `worldr1 evaluate` left there.

    Args:
        run: the run directory.
    """
    from worldr1.evaluation.report import require_run, write_report
    from worldr1.rl.run import RunDirectory, writing

    require_run(run)
    with writing(RunDirectory(run)):
        logger.info("wrote %s", write_report(run))
    return 0
