"""What can be read off a figure."""


def labels(ax):
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, start):
    """The one line whose label starts so."""
    (found,) = [line for line in ax.lines if line.get_label().startswith(start)]
    return found


def texts(ax):
    """What is written within the axes."""
    return [text.get_text() for text in ax.texts]
