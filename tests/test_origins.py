import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.origins import is_allowed, is_origin

PUBLIC = "annotate.example.org"
LISTED = ("https://app.example.org", "http://10.0.0.7:3000", "https://[2001:db8::7]:8443")


def decide(
    origin: str | None,
    *,
    scheme: str = "https",
    host: str = PUBLIC,
    listens_on: str = "0.0.0.0",  # noqa: S104 # nothing listens: a setting's value
    allowed: tuple[str, ...] = LISTED,
) -> bool:
    return is_allowed(origin, scheme=scheme, host=host, listens_on=listens_on, allowed=allowed)


def test_no_browser_sends_no_origin_and_may() -> None:
    assert decide(None)


@pytest.mark.parametrize(
    "origin",
    [
        "https://annotate.example.org",
        "https://annotate.example.org:443",
        "HTTPS://Annotate.Example.ORG",
        "https://app.example.org",
        "https://app.example.org:443",
        "http://10.0.0.7:3000",
        "https://[2001:db8::7]:8443",
        "https://[2001:DB8::7]:8443",
    ],
)
def test_the_servers_own_pages_and_those_listed_may(origin: str) -> None:
    assert decide(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "NULL",
        "*",
        "https://",
        "//annotate.example.org",
        "annotate.example.org",
        # Another scheme, another port.
        "http://annotate.example.org",
        "wss://annotate.example.org",
        "ftp://annotate.example.org",
        "file://annotate.example.org",
        "chrome-extension://annotate.example.org",
        "https://annotate.example.org:8443",
        "https://annotate.example.org:0",
        "https://annotate.example.org:",
        "https://annotate.example.org:65979",  # 443 modulo 2^16
        "https://annotate.example.org:+443",
        "https://annotate.example.org:0x1bb",
        "https://annotate.example.org:\u0664\u0664\u0663",  # digits, but not ASCII's
        "http://app.example.org",
        "http://10.0.0.7",
        "http://10.0.0.7:30000",
        # Names that begin, end or contain as ours do.
        "https://annotate.example.org.evil.example",
        "https://evilannotate.example.org",
        "https://evil-annotate.example.org",
        "https://annotate.example.org.",
        "https://annotate.example.or",
        "https://example.org",
        "https://www.annotate.example.org",
        "https://annotate-example.org",
        "https://annotatexexample.org",
        # What a URL parser would take apart.
        "https://user@annotate.example.org",
        "https://annotate.example.org@evil.example",
        "https://annotate.example.org:pass@evil.example",
        "https://evil.example/https://annotate.example.org",
        "https://evil.example#https://annotate.example.org",
        "https://evil.example?annotate.example.org",
        "https://annotate.example.org/",
        "https://annotate.example.org/page",
        "https://annotate.example.org\\",
        "https:\\\\annotate.example.org",
        # What a URL parser would repair.
        " https://annotate.example.org",
        "https://annotate.example.org ",
        "https://annotate.example\t.org",
        "https://annotate.example.org\n",
        "https://annotate.example.org\x00",
        "https://annotate%2eexample.org",
        # Two of them, or names that look alike.
        "https://annotate.example.org https://evil.example",
        "https://annotate.example.org, https://evil.example",
        "https://\u0430nnotate.example.org",
        "https://xn--nnotate-4nf.example.org",
        "https://annotate\u3002example.org",
        "https://annotate.example.org\u200b",
        # Other writings of an address.
        "http://10.0.7:3000",
        "http://0xa.0.0.7:3000",
        "http://167772167:3000",
        "https://[2001:db8:0::7]:8443",
        "https://2001:db8::7:8443",
        "https://[::ffff:10.0.0.7]:3000",
    ],
)
def test_every_other_page_may_not(origin: str) -> None:
    assert not decide(origin)


@given(st.text(max_size=60))
def test_nothing_else_passes_or_breaks(origin: str) -> None:
    assert not decide(origin)


@given(st.text(max_size=60))
def test_a_host_header_of_any_kind_is_survived(host: str) -> None:
    assert not decide("https://evil.example", host=host) or host.lower().startswith("evil.example")


def test_an_origin_equal_to_a_host_that_is_none_may_not() -> None:
    assert not decide("https://", host="")
    assert not decide("https://user@a", host="user@a")
    assert not decide("https://a/b", host="a/b")


def test_the_port_of_the_host_header_counts() -> None:
    assert decide("http://annotate.example.org:8000", scheme="http", host=f"{PUBLIC}:8000")
    assert not decide("http://annotate.example.org", scheme="http", host=f"{PUBLIC}:8000")
    assert decide("http://annotate.example.org", scheme="http", host=f"{PUBLIC}:80")


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "::1", "127.0.0.53"])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_on_loopback_pages_under_its_names_may(listens_on: str, host: str) -> None:
    assert decide(f"http://{host}", scheme="http", host=host, listens_on=listens_on)


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "::1", "127.0.0.53"])
@pytest.mark.parametrize(
    "name",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1"],
)
def test_on_loopback_a_name_made_to_point_there_may_not(listens_on: str, name: str) -> None:
    """DNS rebinding: the page's own name now resolves to us, so Origin and Host agree."""
    host = f"{name}:8000"

    assert not decide(f"http://{host}", scheme="http", host=host, listens_on=listens_on)


def test_on_loopback_a_listed_page_may() -> None:
    """A proxy in front of us, under a public name."""
    assert decide(LISTED[0], scheme="http", host="app.example.org", listens_on="127.0.0.1")


def test_a_page_of_another_port_of_this_machine_may_not() -> None:
    host = "localhost:8000"

    assert not decide("http://localhost:3000", scheme="http", host=host, listens_on="127.0.0.1")


@pytest.mark.parametrize("origin", LISTED)
def test_what_browsers_send_is_an_origin(origin: str) -> None:
    assert is_origin(origin)


@pytest.mark.parametrize(
    "text", ["", "*", "null", "example.org", "https://a/", "https://*.a", "https://a:99999"]
)
def test_what_they_never_send_is_none(text: str) -> None:
    assert not is_origin(text)
