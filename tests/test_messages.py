from typing import Any

import pytest
from pydantic import ValidationError

from server import messages, protocol
from server.errors import WireError
from server.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Close, Error, Segment


def test_prior_knows_automatic_from_none() -> None:
    automatic = Segment(id=1)
    none = Segment(id=1, prior=None)

    assert automatic.prior_is_automatic
    assert not none.prior_is_automatic


def test_an_errors_message_is_made_of_the_error() -> None:
    error = WireError("busy", "wait", field="id", retry_after=1.5)

    assert Error.of(error, 4) == Error(
        id=4, code="busy", message="wait", field="id", fault="overload", retry_after=1.5
    )
    assert Error.of(error).id is None


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Close(id=1).id = 2


@pytest.mark.parametrize("messages", [CLIENT_MESSAGES, SERVER_MESSAGES], ids=["client", "server"])
def test_the_registries_name_each_message_by_its_type(messages: dict[str, Any]) -> None:
    assert {kind: message.model_fields["type"].default for kind, message in messages.items()} == {
        kind: kind for kind in messages
    }


def test_the_protocol_hands_on_every_message() -> None:
    for message in (*CLIENT_MESSAGES.values(), *SERVER_MESSAGES.values()):
        assert getattr(protocol, message.__name__) is message
        assert message.__name__ in protocol.__all__
        assert message.__name__ in messages.__all__


@pytest.mark.parametrize("kind", [*CLIENT_MESSAGES, *SERVER_MESSAGES])
def test_every_message_says_what_it_is_for(kind: str) -> None:
    message = {**CLIENT_MESSAGES, **SERVER_MESSAGES}[kind]

    assert message.__doc__
    assert message.model_config.get("frozen")
    assert message.model_config.get("strict")
