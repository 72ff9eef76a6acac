import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import protocol
from server.protocol import (
    CLIENT_MESSAGES,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_ID,
    MAX_PRIOR_BYTES,
    SERVER_MESSAGES,
    ClientMessage,
    Close,
    Data,
    Error,
    FrameError,
    Hello,
    Limits,
    MaskBody,
    MaskReply,
    Open,
    Progress,
    Release,
    RleBody,
    Segment,
    SegmentTimings,
    ServerMessage,
    Superseded,
    pack,
    unpack_client,
    unpack_server,
)

READERS = pytest.mark.parametrize("read", [unpack_client, unpack_server])

ids = st.integers(1, MAX_ID)
sizes = st.integers(0, 2**32)
numbers = st.floats(allow_nan=False, allow_infinity=False)
scores = st.floats(0, 1)
rles = st.builds(RleBody, size=st.tuples(sizes, sizes), counts=st.binary(max_size=40))
timings = st.builds(
    SegmentTimings, queue_ms=numbers, decode_ms=numbers, post_ms=numbers, batch=sizes
)
boxes = st.tuples(numbers, numbers, numbers, numbers)
bodies = {"rle": rles, "bbox": boxes, "area": sizes, "score": scores}

segments = st.builds(
    Segment,
    id=ids,
    object=st.integers(0, MAX_ID),
    points=st.lists(st.tuples(numbers, numbers, st.integers(0, 1)), max_size=64).map(tuple),
    box=st.none() | boxes,
    kind=st.sampled_from(["click", "hover"]),
    candidates=st.booleans(),
) | st.builds(Segment, id=ids, prior=st.none() | rles | st.tuples(ids, st.integers(0, 2)))
client_messages = (
    segments
    | st.builds(Hello, token=st.none() | st.text(max_size=40), client=st.none())
    | st.builds(Open, id=ids, size=ids, sha256=st.none() | st.just("0f" * 32))
    | st.builds(Data, id=ids, bytes=st.binary(min_size=1, max_size=600))
    | st.builds(Close, id=ids)
    | st.builds(Release, object=sizes)
)
server_messages = (
    st.builds(
        MaskReply,
        **bodies,
        id=ids,
        object=sizes,
        prior=st.none() | ids,
        candidates=st.none() | st.lists(st.builds(MaskBody, **bodies), max_size=3).map(tuple),
        timings=timings,
    )
    | st.builds(
        Progress,
        id=ids,
        stage=st.sampled_from(["upload", "waiting"]),
        fraction=scores,
        ahead=st.none() | sizes,
    )
    | st.builds(Superseded, id=ids, by=st.none() | ids)
    | st.builds(
        Error,
        id=st.none() | ids,
        code=st.text(max_size=9),
        message=st.text(),
        field=st.none() | st.text(),
        fault=st.sampled_from(["client", "server", "overload"]),
        retry_after=st.none() | scores,
    )
)
wild = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)  # fmt: skip
names = st.sampled_from(
    sorted({field for kind in CLIENT_MESSAGES.values() for field in kind.model_fields})
)


def error_of(read: Any, frame: bytes) -> FrameError | None:
    try:
        read(frame)
    except FrameError as refused:
        return refused
    return None


def refusal(frame: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        unpack_client(frame)
    return caught.value


def packed(**fields: Any) -> bytes:
    frame: bytes = msgpack.packb(fields, use_bin_type=True)
    return frame


def mask_reply(rle: RleBody) -> MaskReply:
    timings = SegmentTimings(queue_ms=0, decode_ms=0, post_ms=0, batch=1)
    return MaskReply(
        id=1, object=0, prior=None, rle=rle, bbox=(0, 0, 0, 0), area=0, score=0, timings=timings
    )


@READERS
@given(frame=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(read: Any, frame: bytes) -> None:
    error = error_of(read, frame)

    assert error is None or unpack_server(pack(Error.of(error, error.request_id)))


@READERS
@given(
    kind=st.sampled_from([*CLIENT_MESSAGES, *SERVER_MESSAGES]),
    fields=st.dictionaries(names | st.text(max_size=5), wild | st.just(1), max_size=8),
)
def test_fields_of_any_kind_are_read_or_refused(
    read: Any, kind: str, fields: dict[str, Any]
) -> None:
    error = error_of(read, packed(**{**fields, "type": kind}))

    assert error is None or error.code in {"bad_field", "unknown_field", "unknown_type"}


@given(client_messages)
def test_what_a_client_packs_a_server_unpacks(message: ClientMessage) -> None:
    assert unpack_client(pack(message)) == message


@given(server_messages)
def test_what_a_server_packs_a_client_unpacks(message: ServerMessage) -> None:
    assert unpack_server(pack(message)) == message


@given(segments)
def test_a_prior_left_out_stays_left_out(message: Segment) -> None:
    assert unpack_client(pack(message)).model_fields_set >= {"prior"} & message.model_fields_set
    assert ("prior" in msgpack.unpackb(pack(message))) is ("prior" in message.model_fields_set)


@given(client_messages)
def test_a_frame_cut_short_anywhere_is_refused(message: ClientMessage) -> None:
    frame = pack(message)

    for end in range(len(frame)):
        assert refusal(frame[:end]).code == "bad_frame"


@given(server_messages, st.text(min_size=1, max_size=9), wild)
def test_a_client_ignores_fields_of_a_newer_server(
    message: ServerMessage, name: str, value: Any
) -> None:
    fields = msgpack.unpackb(pack(message))
    newer = {f"{name}?": value, **fields}
    if "rle" in fields:
        newer["rle"] = {**fields["rle"], f"{name}?": value}

    assert unpack_server(msgpack.packb(newer)) == message


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xc1", "a byte that begins no value"),
        (b"\x91" * 2_000, "nested too deep"),
        (b"\x81\xa4type", "incomplete"),
    ],
)
def test_a_frame_that_is_no_msgpack_is_told_why(frame: bytes, reason: str) -> None:
    assert reason in refusal(frame).message


@pytest.mark.parametrize("depth", [10, 400, 600, 5_000, 100_000, 1_000_000])
@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1a"], ids=["lists", "maps"])
def test_containers_of_any_depth_are_refused(depth: int, opener: bytes) -> None:
    deep = opener * min(depth, (MAX_FRAME_BYTES - 20) // len(opener))

    assert refusal(b"\x81\xa5token" + deep + b"\xc0").code in {"bad_frame", "unknown_type"}


@pytest.mark.parametrize("empty", [b"\x80", b"\x90"], ids=["maps", "lists"])
def test_a_frame_of_a_million_containers_is_refused_before_they_are_built(empty: bytes) -> None:
    row = b"\xdc\x00\x80" + empty * 128
    frame = b"\x83\xa4type\xa5close\xa2id\x05\xa1x" + (b"\xdc\x00\x80" + row * 128) * 60

    error = refusal(frame)

    assert error.code == "bad_frame"
    assert "2048 items" in error.message


@pytest.mark.parametrize("item", [b"\x01", b"\xc0", b"\xa1x"], ids=["numbers", "nils", "strings"])
def test_a_frame_of_a_million_items_is_refused_before_they_are_looked_at(item: bytes) -> None:
    row = b"\xdc\x00\x80" + item * 128
    error = refusal(b"\x83\xa4type\xa7segment\xa2id\x05\xa6points\xdc\x00\x80" + row * 128)

    assert error.code == "bad_frame"
    assert "2048 items" in error.message


@READERS
def test_what_is_never_closed_cannot_be_counted_but_is_short(read: Any) -> None:
    longer = b"\xdc\x00\x81" + b"\x01" * 128
    with pytest.raises(FrameError, match="129 exceeds"):
        read(b"\x81\xa6points" + longer * 500)


def test_a_frame_of_a_mebibyte_is_read_and_one_byte_more_is_not() -> None:
    assert refusal(bytes(MAX_FRAME_BYTES)).code == "bad_frame"
    assert refusal(bytes(MAX_FRAME_BYTES + 1)).code == "frame_too_big"


def test_data_holds_256_kib_and_no_more() -> None:
    assert unpack_client(packed(type="data", id=1, bytes=bytes(MAX_DATA_BYTES)))

    error = refusal(packed(type="data", id=1, bytes=bytes(MAX_DATA_BYTES + 1)))

    assert (error.code, error.field, error.request_id) == ("bad_field", "bytes", None)


def test_a_prior_holds_256_kib_of_counts_and_no_more() -> None:
    longest = RleBody(size=(1, 1), counts=bytes(MAX_PRIOR_BYTES))
    message = unpack_client(pack(Segment(id=1, prior=longest)))
    assert message == Segment(id=1, prior=longest)

    counts = bytes(MAX_PRIOR_BYTES + 1)
    error = refusal(packed(type="segment", id=1, prior={"size": [1, 1], "counts": counts}))

    assert (error.code, error.field, error.request_id) == ("bad_field", "prior.counts", 1)
    assert "at most 262144 bytes" in error.message


def test_a_mask_in_a_reply_may_be_longer_than_one_given_as_a_prior() -> None:
    rle = RleBody(size=(1, 1), counts=bytes(MAX_PRIOR_BYTES + 1))

    assert unpack_server(pack(mask_reply(rle))) == mask_reply(rle)


def test_a_server_that_names_no_bound_on_priors_is_read() -> None:
    limits = {name: 1 for name in Limits.model_fields if name != "max_prior_bytes"}

    assert Limits.model_validate(limits).max_prior_bytes == MAX_PRIOR_BYTES


def test_an_error_never_says_back_more_than_a_part_of_a_fields_name() -> None:
    error = refusal(packed(type="close", id=1, **{"n" * 1_000_000: 1}))

    assert len(pack(Error.of(error, 1))) < 300


def test_a_refusal_says_which_request_it_would_have_been() -> None:
    assert refusal(packed(type="segment", id=9, box=1)).request_id == 9
    assert refusal(packed(type="segment", id=9.0, box=1)).request_id == 9
    assert refusal(packed(type="segment", id=9.5)).request_id is None


def test_a_refusal_makes_no_validator_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "TypeAdapter", None)
    with pytest.raises(FrameError) as refused:
        unpack_client(msgpack.packb({"type": "undo", "id": 7}))
    assert refused.value.request_id == 7


def test_numbers_keep_their_value_but_not_their_form() -> None:
    message = unpack_client(packed(type="segment", id=7.0, points=[[1, 2.5, 1.0]]))

    assert message == Segment(id=7, points=((1.0, 2.5, 1),))
    assert isinstance(message, Segment)
    assert [type(value) for value in message.points[0]] == [float, float, int]


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "1", None, [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    assert refusal(packed(type="segment", id=1, box=[0, 0, value, 1])).field == "box.2"


def test_a_mask_without_a_prior_says_so() -> None:
    reply = mask_reply(RleBody(size=(1, 1), counts=b"1"))

    assert msgpack.unpackb(pack(reply))["prior"] is None


def test_type_is_the_first_field_of_every_frame() -> None:
    assert pack(Close(id=1)) == b"\x82\xa4type\xa5close\xa2id\x01"
