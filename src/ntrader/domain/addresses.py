"""Addresses of the network: which of them belong to the public."""

from ipaddress import IPv6Address, ip_address, ip_network

_GLOBAL_UNICAST = ip_network("2000::/3")
_SIX_TO_FOUR = ip_network("2002::/16")


def is_public(address: str) -> bool:
    """Whether an address belongs to a host that the whole internet can reach.

    Loopback, private, link-local (the metadata services of clouds), shared, reserved and multicast
    addresses do not, nor does an IPv6 address that a gateway may take for an IPv4 one.
    """
    found = ip_address(address.partition("%")[0])
    # Python's own lists of IPv6 differ between its versions; what is allocated does not.
    if isinstance(found, IPv6Address) and (found not in _GLOBAL_UNICAST or found in _SIX_TO_FOUR):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved
