import numpy as np

from client_demo.results import mask_of
from server.protocol import Segment
from tests.support.scripted_server import mask_reply


def test_a_mask_says_what_the_reply_says() -> None:
    mask = mask_of(mask_reply(Segment(id=4, object=2)), connection=3)

    assert (mask.id, mask.object, mask.connection, mask.index) == (4, 2, 3, 0)
    assert mask.mask().shape == (3, 4)
    assert mask.mask().sum() == mask.area


def test_candidates_are_masks_of_the_same_request() -> None:
    mask = mask_of(mask_reply(Segment(id=4, candidates=True)))

    assert [(candidate.id, candidate.index) for candidate in mask.candidates] == [
        (4, 0),
        (4, 1),
        (4, 2),
    ]
    assert np.array_equal(mask.candidates[0].mask(), mask.mask())
    assert mask.candidates[0].candidates == ()
