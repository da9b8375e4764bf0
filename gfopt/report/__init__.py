"""The report page and the console table: they draw what analysis computed and compute nothing."""

from gfopt.report.page import write_report

__all__ = ["write_report"]
