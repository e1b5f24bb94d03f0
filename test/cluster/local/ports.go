// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freePorts returns unused ports of the loopback interface. They are below the ephemeral port
// range, so that an outgoing connection cannot take one before the intended process listens on it.
func freePorts(n int) ([]int, error) {
	listeners, err := listenOnFreePorts(n)
	if err != nil {
		return nil, err
	}
	ports := make([]int, 0, n)
	for _, l := range listeners {
		ports = append(ports, portOf(l))
		_ = l.Close()
	}
	return ports, nil
}

func listenOnFreePorts(n int) ([]*net.TCPListener, error) {
	const first, last, attempts = 20000, 32000, 1000
	var listeners []*net.TCPListener
	for range attempts {
		address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: first + rand.IntN(last-first)}
		listener, err := net.ListenTCP("tcp4", address)
		if err != nil {
			continue
		}
		if listeners = append(listeners, listener); len(listeners) == n {
			return listeners, nil
		}
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	return nil, errors.New("no free port found on 127.0.0.1 between 20000 and 32000")
}

func portOf(listener net.Listener) int {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

func freePort() (int, error) {
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
