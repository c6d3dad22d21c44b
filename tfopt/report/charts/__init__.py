"""Charts as plain SVG: one file a kind, with shared scales and axes.

A report is one file that is opened from a disk, mailed, printed, and read without scripts. Plotly's script alone is
4.8 MB, and every chart library of the browser draws nothing where scripts are off and prints what the screen happened
to show. A chart here is a few kilobytes of SVG in the page itself: its colours are the style sheet's, for light and
dark, each mark names its figures in a `title`, and the table beside it says the same to a screen reader.
"""

from tfopt.report.charts.bars import Bar, Bars
from tfopt.report.charts.chart import Chart, Key
from tfopt.report.charts.histogram import Histogram, Outline
from tfopt.report.charts.lines import Backdrop, Line, Lines, Mark
from tfopt.report.charts.matrix import Matrix
from tfopt.report.charts.parallel import ParallelAxes, ParallelLine
from tfopt.report.charts.scatter import Limit, Point, Scatter

__all__ = [
    "Backdrop",
    "Bar",
    "Bars",
    "Chart",
    "Histogram",
    "Key",
    "Limit",
    "Line",
    "Lines",
    "Mark",
    "Matrix",
    "Outline",
    "ParallelAxes",
    "ParallelLine",
    "Point",
    "Scatter",
]
