"""What callers are counted by."""

from __future__ import annotations

import resource

import pytest

from agent.api.limits import is_listed, site_of
from agent.api.server import open_many_files


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str, site: str) -> None:
    assert site_of(address) == site


@pytest.mark.parametrize(
    ("proxies", "listed"),
    [
        ("*", True),
        ("::1,192.0.2.7", True),
        (["*"], True),
        (["192.0.2.1", "192.0.2.7"], True),
        (["192.0.2.0/24"], True),
        (["192.0.3.0/24", "2001:db8::/32"], False),
        (["192.0.2.70"], False),
        ([], False),
        (None, False),
        (["no network/24"], False),
    ],
)
def test_an_address_is_a_proxys_if_the_setting_lists_it(
    proxies: str | list[str] | None, listed: bool
) -> None:
    assert is_listed("192.0.2.7", proxies) is listed
    assert is_listed("no address", proxies) is ("*" in (proxies or []))


def test_the_api_may_hold_as_many_connections_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] // 2, before[1]))
    try:
        open_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
