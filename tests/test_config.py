import os
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from server.config import Settings, stray_variables
from server.engine import images


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("SAMWIRE_"):
            monkeypatch.delenv(name)


def test_without_any_setting_it_is_safe() -> None:
    settings = Settings()

    assert settings.host == "127.0.0.1"
    assert (settings.origins, settings.tokens) == ((), ())
    assert settings.max_image_pixels == 40_000_000
    assert settings.max_image_bytes == 32 << 20
    assert not settings.reduced_jpeg
    assert settings.max_waiting_clicks == 16
    assert settings.idle_timeout_s == 300
    assert settings.hello_timeout_s == 5


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMWIRE_PORT", "9000")
    monkeypatch.setenv("SAMWIRE_MODEL", "vit_b")
    monkeypatch.setenv("SAMWIRE_CHECKPOINT", "weights/sam.pth")
    monkeypatch.setenv("SAMWIRE_MAX_DECODE_MS", "12.5")
    monkeypatch.setenv("SAMWIRE_REDUCED_JPEG", "1")

    settings = Settings()

    assert settings.reduced_jpeg
    assert (settings.port, settings.model, settings.max_decode_ms) == (9000, "vit_b", 12.5)
    assert settings.checkpoint == Path("weights/sam.pth")


def test_the_command_line_is_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMWIRE_PORT", "9000")

    assert Settings(port=9001).port == 9001


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMWIRE_ORIGINS", "https://a.example, http://b.example:3000")
    monkeypatch.setenv("SAMWIRE_TOKENS", "one,two")

    settings = Settings()

    assert settings.origins == ("https://a.example", "http://b.example:3000")
    assert [token.get_secret_value() for token in settings.tokens] == ["one", "two"]


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_list_is_none(nothing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMWIRE_TOKENS", nothing)
    monkeypatch.setenv("SAMWIRE_ORIGINS", nothing)

    assert (Settings().tokens, Settings().origins) == ((), ())


@pytest.mark.parametrize("tokens", [",", "one,", ",one", "one,,two", " , "])
def test_an_empty_token_between_commas_is_an_error(
    tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMWIRE_TOKENS", tokens)

    with pytest.raises(ValidationError, match="no empty part"):
        Settings()


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.org", "https://app.example.org/", "https://*.example.org"]
)
def test_an_origin_no_browser_sends_is_an_error(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMWIRE_ORIGINS", origin)

    with pytest.raises(ValidationError, match=r"origins like https://example\.org"):
        Settings()


def test_tokens_are_not_shown() -> None:
    settings = Settings(tokens="swordfish")  # type: ignore[arg-type] # as from the environment

    assert "swordfish" not in repr(settings)
    assert "swordfish" not in str(settings.model_dump())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "eight"),
        ("PORT", "tcp://10.0.0.1:8000"),
        ("MODEL", "vit_x"),
        ("DTYPE", "int8"),
        ("THREADS", "-1"),
        ("REDUCED_JPEG", "perhaps"),
        ("CACHE_BYTES", "-1"),
        ("CACHE_BYTES", "2GB"),
        ("MAX_SESSIONS", "0"),
        ("MAX_IMAGE_PIXELS", "0"),
        ("MAX_IMAGE_PIXELS", "178956971"),
        ("MAX_WAITING_CLICKS", "0"),
        ("MAX_DECODE_MS", "0"),
        ("IDLE_TIMEOUT_S", "0"),
        ("IDLE_TIMEOUT_S", "-5"),
        ("IDLE_TIMEOUT_S", "inf"),
        ("IDLE_TIMEOUT_S", "nan"),
        ("IDLE_TIMEOUT_S", ""),
        ("MAX_IMAGE_BYTES", "2000000000"),  # more than all uploads together may have
    ],
)
def test_a_bad_value_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SAMWIRE_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_the_ends_of_the_ranges_are_allowed() -> None:
    settings = Settings(port=0, threads=0, cache_bytes=0, max_sessions=1)

    assert (settings.port, settings.cache_bytes) == (0, 0)


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(ValidationError, match="max_session"):
        Settings(max_session=3)  # type: ignore[call-arg] # on purpose


def test_settings_do_not_change() -> None:
    settings = Settings()

    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "port", 1)  # noqa: B010 # written out, mypy would refuse it


def test_no_setting_goes_beyond_what_pillow_opens() -> None:
    largest = Settings(max_image_pixels=images.MAX_PIXELS).max_image_pixels

    assert Image.MAX_IMAGE_PIXELS is not None
    assert largest == 2 * Image.MAX_IMAGE_PIXELS


def test_settings_are_no_strays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"SAMWIRE_{name.upper()}", "")
    monkeypatch.setenv("samwire_port", "9000")  # read as well
    monkeypatch.setenv("SAM_PORT", "9000")  # somebody else's

    assert stray_variables() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SAMWIRE_MAX_SESION", "did you mean SAMWIRE_MAX_SESSIONS?"),
        ("SAMWIRE_TOKEN", "did you mean SAMWIRE_TOKENS?"),
        ("SAMWIRE_IDLE_TIMEOUT", "did you mean SAMWIRE_IDLE_TIMEOUT_S?"),
        ("SAMWIRE_MAX_SESSIONS_PER_ADRESS", "did you mean SAMWIRE_MAX_SESSIONS_PER_ADDRESS?"),
        ("SAMWIRE_QQ", "see docs/operations.md"),
        ("SAMWIRE_", "see docs/operations.md"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_setting_that_was_meant(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")

    (sentence,) = stray_variables()

    assert sentence.startswith(f"{name} is no setting")
    assert said in sentence


@pytest.mark.parametrize("service", ["SAMWIRE", "SAMWIRE_CANVAS", "SAMWIRE_2_GPU"])
def test_what_kubernetes_says_of_a_service_is_no_misspelling(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "tcp://10.0.0.1:8000"
    for name, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8000",
        "SERVICE_PORT_HTTP": "8000",
        "PORT": address,
        "PORT_8000_TCP": address,
        "PORT_8000_TCP_PROTO": "tcp",
        "PORT_8000_TCP_PORT": "8000",
        "PORT_8000_TCP_ADDR": "10.0.0.1",
        "PORT_53_UDP": "udp://10.0.0.1:53",
    }.items():
        monkeypatch.setenv(f"{service}_{name}", value)

    assert stray_variables() == []


def test_a_port_that_is_a_services_address_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMWIRE_PORT", "tcp://10.0.0.1:8000")

    with pytest.raises(ValidationError, match=r"Service is called samwire.*enableServiceLinks"):
        Settings()

    assert Settings(port=8000).port == 8000
