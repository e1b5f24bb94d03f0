// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"fmt"
	"net/netip"
	"slices"
)

// testRanges are the address ranges of private and test networks. A request to them cannot reach a
// public service by accident.
var testRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),   // Shared address space.
	netip.MustParsePrefix("169.254.0.0/16"),  // Link-local.
	netip.MustParsePrefix("192.0.2.0/24"),    // Documentation.
	netip.MustParsePrefix("198.18.0.0/15"),   // Benchmarks.
	netip.MustParsePrefix("198.51.100.0/24"), // Documentation.
	netip.MustParsePrefix("203.0.113.0/24"),  // Documentation.
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),      // Unique local.
	netip.MustParsePrefix("fe80::/10"),     // Link-local.
	netip.MustParsePrefix("2001:db8::/32"), // Documentation.
}

// An allowed prefix may cover the pods of a cluster, but not all private networks.
const (
	widestIPv4 = 16
	widestIPv6 = 48
)

// parseGateway parses the address of a gateway. The address must be on loopback or within an
// allowed prefix. Host names are rejected, because DNS decides what they resolve to.
func parseGateway(gateway string, allowed []netip.Prefix) (netip.AddrPort, error) {
	parsed, err := netip.ParseAddrPort(gateway)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("gateway %q: want an IP address and a port, such as 127.0.0.1:8080: %w", gateway, err)
	}
	for _, prefix := range allowed {
		if err := checkPrefix(prefix); err != nil {
			return netip.AddrPort{}, err
		}
	}
	address := parsed.Addr().Unmap()
	within := func(prefix netip.Prefix) bool { return prefix.Contains(address.WithZone("")) }
	if !address.IsLoopback() && !slices.ContainsFunc(allowed, within) {
		return netip.AddrPort{}, fmt.Errorf("gateway %s is neither on loopback nor within the allowed prefixes %v; "+
			"if it belongs to the test, allow its network", gateway, allowed)
	}
	if parsed.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("gateway %s: port 0 cannot be connected to", gateway)
	}
	return netip.AddrPortFrom(address, parsed.Port()), nil
}

// checkPrefix rejects prefixes that can include hosts outside of the test.
func checkPrefix(prefix netip.Prefix) error {
	inside := func(outer netip.Prefix) bool {
		return outer.Bits() <= prefix.Bits() && outer.Contains(prefix.Addr())
	}
	if !prefix.IsValid() || !slices.ContainsFunc(testRanges, inside) {
		return fmt.Errorf("prefix %s cannot be allowed: it is not in a range for private networks or tests", prefix)
	}
	widest := widestIPv4
	if prefix.Addr().Is6() {
		widest = widestIPv6
	}
	if prefix.Bits() < widest {
		return fmt.Errorf("prefix %s cannot be allowed: name the test's own network, of /%d or less", prefix, widest)
	}
	return nil
}
