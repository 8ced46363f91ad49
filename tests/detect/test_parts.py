"""How far apart two models are is counted alike where an alarm is raised and where it is looked into."""

import numpy as np
import pytest

from birdwatch.detect.disagreement import measured_by, share_apart
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_at_the_edge_of_what_is_usual_is_usual_in_either_direction(sign):
    differences = sign * np.array([0.1, 0.1, 0.1, 0.4])
    counts, usual = Counts.of(bins_of(differences)), int(bins_of([0.1])[0])
    assert share_apart(counts, usual, "real") == 0.25


def test_probabilities_are_apart_by_steps_and_other_scores_by_their_difference():
    assert (measured_by("probability"), measured_by("real")) == ("apart", "difference")
    assert share_apart(Counts.of([-7, -5, 5, 7]), 5, "probability") == 0.5
