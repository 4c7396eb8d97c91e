import pytest

from hafs.core.errors import ConfigError
from hafs.core.loopback import is_loopback, stays_here
from hafs.providers.remote import openai_compatible

HERE = ["localhost", "127.0.0.1", "127.8.0.2", "::1", "[::1]"]
ELSEWHERE = [
    "127.0.0.1.example.com",
    "localhost.example.com",
    "example.com",
    "127.1.example",
    "10.0.0.1",
    "0.0.0.0",
    "::",
    "128.0.0.1",
    "",
    "localhost.",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("host", HERE)
def test_these_are_never_sent_to_another_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_these_are_loopback_in_every_spelling(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.example.com/v1", "http://localhost.example.com/v1", "http://127.0.0.1@example.com/v1"]
)
def test_no_key_goes_over_plain_http_to_a_host_that_looks_like_localhost(url):
    assert not stays_here(url)
    with pytest.raises(ConfigError):
        openai_compatible(base_url=url, api_key_env="SOME_KEY", headers={}, adapters=False, body={})


def test_a_key_is_sent_over_plain_http_to_localhost_only():
    for url in ("http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "https://example.com/v1"):
        assert openai_compatible(base_url=url, api_key_env="SOME_KEY", headers={}, adapters=False, body={})
