// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freePorts returns ports of the loopback interface that nobody uses. They lie
// below the range from which the system serves outgoing connections, so that
// none of those takes one before the process that it is meant for.
func freePorts(n int) ([]int, error) {
	const first, last, attempts = 20000, 32000, 1000
	var (
		ports     []int
		listeners []net.Listener
	)
	defer func() { // They are held until all are found, so that they differ.
		for _, l := range listeners {
			l.Close()
		}
	}()
	for range attempts {
		port := first + rand.IntN(last-first)
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		listeners = append(listeners, listener)
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free port found on 127.0.0.1 between 20000 and 32000")
}

func freePort() (int, error) {
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
