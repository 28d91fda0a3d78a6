"""One typed settings object; a typo is an error, not a default."""

import re
from pathlib import Path

import pytest

from unjoin.roles import processor_config_of
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
        ("UNJOIN_PATH_ALIAS", "m/e"),
        ("UNJOIN_PATH_ALIAS", "/m/e/"),
        ("UNJOIN_PATH_ALIAS", "/m?e"),
        ("UNJOIN_PATH_ALIAS", "/v1/m"),
        ("UNJOIN_PATH_ALIAS", "/docs"),
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


@pytest.mark.parametrize("brokers", ["kafka", "a:1,b", "a:1,", ":9092", "a:http", "a:70000", "a:0"])
def test_broker_without_host_or_port_is_an_error(brokers: str) -> None:
    """Each client would fail in a way of its own, some with a traceback."""
    with pytest.raises(SettingsError, match="UNJOIN_KAFKA_BOOTSTRAP: Expected brokers as host:port"):
        settings_of({"UNJOIN_KAFKA_BOOTSTRAP": brokers})
    assert settings_of({"UNJOIN_KAFKA_BOOTSTRAP": "a:1, [::1]:2"}).kafka_bootstrap


def test_labels_that_would_expire_before_their_wait_is_over_are_an_error() -> None:
    """A site with few sessions would lose every label, and only a count would say so."""
    with pytest.raises(SettingsError, match=r"UNJOIN_CROWD_WAIT_MINUTES: .* expire after 50 minutes"):
        settings_of({"UNJOIN_LABELED_RETENTION_HOURS": "1"})
    shorter = {"UNJOIN_LABELED_RETENTION_HOURS": "1", "UNJOIN_CROWD_WAIT_MINUTES": "30"}
    assert settings_of(shorter).crowd_wait_minutes == 30


@pytest.mark.parametrize(
    ("given", "voters"), [({}, (20, 200)), ({"CROWD_MIN": "300"}, (300, 300)), ({"CROWD_MIN": "1"}, (1, 1))]
)
def test_target_is_at_least_the_minimum_and_without_crowds_there_is_none(
    given: dict[str, str], voters: tuple[int, int]
) -> None:
    """Whoever raises the one has not thought of the other, and a minimum of 1 has always meant no crowds."""
    rule = processor_config_of(settings_of({f"UNJOIN_{name}": value for name, value in given.items()})).crowd
    assert (rule.voters_min, rule.voters_target) == voters
