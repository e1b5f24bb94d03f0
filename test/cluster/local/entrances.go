// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// Entrances are ports of the machine's loopback interface that lead into a
// cluster in namespaces of its own: one to its API server, one to its gateway.
// The ports are the same inside, so that one kubeconfig serves on both sides.
//
// A socket belongs to the network that it was made in. So they are made outside,
// handed in as files, and served inside:
//
//	entrances, err := local.NewEntrances()
//	files, err := entrances.Files()
//	code, err := isolated.Run(args, files...)
//
// and there
//
//	entrances, err := local.EntrancesFrom(isolated.File(0), isolated.File(1))
//	c, err := local.Start(ctx, local.Options{Level: local.Node, Entrances: entrances, …})
type Entrances struct{ api, gateway *net.TCPListener }

// NewEntrances opens entrances on free ports.
func NewEntrances() (*Entrances, error) {
	listeners, err := listenOnFreePorts(2)
	if err != nil {
		return nil, err
	}
	return &Entrances{api: listeners[0], gateway: listeners[1]}, nil
}

// Files returns the entrances as files. They stay open as long as either.
func (e *Entrances) Files() ([]*os.File, error) {
	api, err := e.api.File()
	if err != nil {
		return nil, err
	}
	gateway, err := e.gateway.File()
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return []*os.File{api, gateway}, nil
}

// EntrancesFrom makes entrances of such files, and closes these.
func EntrancesFrom(api, gateway *os.File) (*Entrances, error) {
	var e Entrances
	for _, entrance := range []struct {
		file     *os.File
		listener **net.TCPListener
	}{{api, &e.api}, {gateway, &e.gateway}} {
		listener, err := net.FileListener(entrance.file)
		if err != nil {
			return nil, fmt.Errorf("an entrance that was handed in: %w", err)
		}
		tcp, ok := listener.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("an entrance that was handed in is at %s", listener.Addr())
		}
		entrance.file.Close()
		*entrance.listener = tcp
	}
	return &e, nil
}

// Close closes the entrances here. Where they have been handed in, they stay open.
func (e *Entrances) Close() {
	_ = e.api.Close()
	_ = e.gateway.Close()
}

func (e *Entrances) apiPort() int     { return portOf(e.api) }
func (e *Entrances) gatewayPort() int { return portOf(e.gateway) }

// serve leads whoever comes to the same port inside, until the entrances are closed.
func (e *Entrances) serve() {
	for _, listener := range []*net.TCPListener{e.api, e.gateway} {
		go func() {
			for {
				visitor, err := listener.AcceptTCP()
				if err != nil {
					return
				}
				go lead(visitor, loopback(portOf(listener)))
			}
		}()
	}
}

// lead carries both directions of a connection until both have ended.
func lead(visitor *net.TCPConn, address string) {
	defer func() { _ = visitor.Close() }()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return // As if nobody had listened: the visitor is hung up on.
	}
	defer func() { _ = connection.Close() }()
	inside, ok := connection.(*net.TCPConn)
	if !ok {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		carry(inside, visitor)
	}()
	carry(visitor, inside)
	<-done
}

// carry copies until the end, and passes the end on.
func carry(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil { // One side is gone: there is no use for the other.
		_ = from.Close()
	}
	_ = to.CloseWrite()
}
