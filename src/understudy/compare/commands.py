"""What the command line runs for grids."""

from __future__ import annotations

from pathlib import Path

from understudy.compare.config import GridConfig, TableConfig
from understudy.compare.grid import run_grid
from understudy.compare.table import write_table


def run_compare(config: GridConfig) -> Path:
    """Makes a grid's runs and its table; returns the table's JSON file."""
    return run_grid(config)


def run_table(config: TableConfig) -> Path:
    """Makes the table of the runs below a directory again; returns its JSON file."""
    return write_table(Path(config.folder))
