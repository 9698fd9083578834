"""What can be read off a figure."""

import numpy as np
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh


def labels(ax):
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def title(ax):
    """The title of the legend."""
    return ax.get_legend().get_title().get_text()


def line(ax, start):
    """The one line with this label, or else the one whose label starts so."""
    named = {str(line.get_label()): line for line in ax.lines}
    (found,) = [start] if start in named else [label for label in named if label.startswith(start)]
    return named[found]


def texts(ax):
    """What is written within the axes."""
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    """The labels of the marks on an axis."""
    return [label.get_text() for label in axis.get_ticklabels()]


def bars(collection):
    """Lower and upper ends of vertical or horizontal lines, by their place along the other axis."""
    ends = np.array(collection.get_segments())
    along = 1 if np.ptp(ends[:, :, 1], axis=1).any() else 0
    return np.sort(ends[:, :, along], axis=1)


def points_in_view(ax):
    """Finite points of lines, curves, dots, areas, meshes and bars that lie within the limits of the axes.

    Lines and bands that span the axes, as guides do, are no data.
    """
    found = [np.empty((0, 2))]
    for one in ax.lines:
        if one.get_transform() == ax.transData and len(one.get_xdata()):
            found.append(np.column_stack(one.get_data()).astype(float))
    for one in ax.collections:
        if isinstance(one, LineCollection):
            found += [np.asarray(segment, dtype=float).reshape(-1, 2) for segment in one.get_segments()]
        elif isinstance(one, PathCollection):
            found.append(np.asarray(one.get_offsets(), dtype=float))
        elif isinstance(one, QuadMesh):
            assert np.isfinite(one.get_array()).all()
            found.append(one.get_coordinates().reshape(-1, 2))
        elif isinstance(one, PolyCollection):
            found += [path.vertices for path in one.get_paths()]
    for bar in ax.containers:
        found.append(np.array([[patch.get_x() + patch.get_width(), patch.get_y()] for patch in bar]))
    points = np.concatenate(found)
    points = points[np.isfinite(points).all(axis=1)]
    (left, right), (bottom, top) = (sorted(limits) for limits in (ax.get_xlim(), ax.get_ylim()))
    x, y = points.T
    return points[(x >= left) & (x <= right) & (y >= bottom) & (y <= top)]
