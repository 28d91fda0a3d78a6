"""One typed settings object; a typo is an error, not a default."""

import re
from pathlib import Path

import pytest

from unjoin.settings import Settings, SettingsError, settings_of, settings_table

README = Path(__file__).parent.parent.parent / "README.md"


def test_environment_sets_typed_fields() -> None:
    """Strings of the environment become what the roles expect."""
    settings = settings_of({"UNJOIN_HTTP_PORT": "81", "UNJOIN_DATA_DIR": "/srv/x", "PATH": "/bin"})
    assert (settings.http_port, settings.data_dir) == (81, Path("/srv/x"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNJOIN_HTPP_PORT", "81"),
        ("UNJOIN_HTTP_PORT", "many"),
        ("UNJOIN_HTTP_PORT", "70000"),
        ("UNJOIN_PARTITIONS", "0"),
        ("UNJOIN_WAITING_BYTES_MAX", "2000000"),
    ],
)
def test_unusable_setting_is_named(name: str, value: str) -> None:
    """Whoever mistypes a setting must learn which one."""
    with pytest.raises(SettingsError, match=name):
        settings_of({name: value})


def test_bodies_that_could_never_wait_for_their_turn_are_an_error_at_the_start() -> None:
    """A client would be told 503 and to come back, again and again, for a body that the limit allows."""
    with pytest.raises(SettingsError, match=r"WAITING_BYTES_MAX.*BODY_BYTES_MAX"):
        settings_of({"UNJOIN_BODY_BYTES_MAX": "33554432"})
    larger = {"UNJOIN_BODY_BYTES_MAX": "33554432", "UNJOIN_WAITING_BYTES_MAX": "67108864"}
    assert settings_of(larger).body_bytes_max == 33_554_432


def test_value_of_a_setting_is_not_echoed() -> None:
    """A ClickHouse URL holds a password."""
    with pytest.raises(SettingsError) as error:
        settings_of({"UNJOIN_KAFKA_PORT": "hunter2"})
    assert "hunter2" not in str(error.value)


def test_readme_lists_every_setting() -> None:
    """The table is generated; a setting that nobody documented does not exist for an operator."""
    assert settings_table() in README.read_text()


def test_broker_defaults_to_the_one_of_this_machine() -> None:
    """`unjoin collect` next to `unjoin up` needs no setting."""
    assert Settings(kafka_port=9999).bootstrap == "127.0.0.1:9999"
    assert re.fullmatch(r"a:1,b:2", Settings(kafka_bootstrap="a:1,b:2").bootstrap)
