"""Pictures of networks as figures: what a user calls a column is a name and no formula."""

import numpy as np
import pytest

from dlx.evaluation.gallery.pictures import Lines
from dlx.report.gallery import figure_of


@pytest.mark.parametrize("name", ["price_$/unit_$", "a$^$b"])
def test_names_of_axes_are_no_formulas(name: str) -> None:
    picture = Lines("Forecasts", "", np.arange(3), {name: np.zeros(3)}, name, name)
    figure = figure_of(picture)
    figure.canvas.draw()
    assert figure.axes[0].get_ylabel() == figure.axes[0].get_xlabel() == name.replace("$", r"\$")
