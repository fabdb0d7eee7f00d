"""Settings and limits."""

import pytest

from mien.errors import ConfigError, WeightsError
from mien.service import Limits, Settings, create_app


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.53"])
def test_loopback_host_needs_no_token(host):
    assert Settings(host=host).token is None


def test_other_host_needs_a_token_or_open_to_all():
    with pytest.raises(ConfigError, match=r"other machines can reach a service at 192\.0\.2\.1: set a token"):
        Settings(host="192.0.2.1")
    assert Settings(host="192.0.2.1", token="open-sesame")
    assert Settings(host="192.0.2.1", open_to_all=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"min_score": 1.5}, r"min_score must be between 0 and 1, got 1\.5"),
        ({"batch": 0}, "batch must be 1 picture or more, got 0"),
        ({"wait_ms": float("nan")}, "wait_ms must be 0 or more, got nan"),
        ({"token": "two words"}, "a token must be one or more visible ASCII characters without spaces"),
    ],
)
def test_bad_setting_raises_config_error(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Settings(**settings)


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"pixels": -1}, {"seconds": float("nan")}, {"queue": 3}])
def test_limits_below_one_request_raise_config_error(limits):
    with pytest.raises(ConfigError, match=r"must be above 0|must hold all pictures"):
        Limits(**limits)


def test_unknown_model_raises_weights_error():
    with pytest.raises(WeightsError, match="huge"):
        create_app(Settings(model="huge"))
