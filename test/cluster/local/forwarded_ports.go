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

// ForwardedPorts are ports on the machine's loopback interface that forward to the API server and
// the gateway of a cluster in separate namespaces. The port numbers are the same inside, so that
// one kubeconfig works on both sides.
//
// A socket belongs to the network namespace that it was created in. Therefore create the sockets
// outside, pass them on as files, and serve them inside:
//
//	ports, err := local.NewForwardedPorts()
//	files, err := ports.Files()
//	code, err := isolated.Run(args, files...)
//
// and inside
//
//	ports, err := local.ForwardedPortsFrom(isolated.File(0), isolated.File(1))
//	c, err := local.Start(ctx, local.Options{Level: local.Node, ForwardedPorts: ports, …})
type ForwardedPorts struct{ api, gateway *net.TCPListener }

// NewForwardedPorts listens on free ports.
func NewForwardedPorts() (*ForwardedPorts, error) {
	listeners, err := listenOnFreePorts(2)
	if err != nil {
		return nil, err
	}
	return &ForwardedPorts{api: listeners[0], gateway: listeners[1]}, nil
}

// Files returns the sockets as files. A port stays open until its file and its listener are closed.
func (p *ForwardedPorts) Files() ([]*os.File, error) {
	api, err := p.api.File()
	if err != nil {
		return nil, err
	}
	gateway, err := p.gateway.File()
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return []*os.File{api, gateway}, nil
}

// ForwardedPortsFrom returns the ports of files that Files has returned. It closes the files.
func ForwardedPortsFrom(api, gateway *os.File) (*ForwardedPorts, error) {
	var p ForwardedPorts
	for _, port := range []struct {
		file     *os.File
		listener **net.TCPListener
	}{{api, &p.api}, {gateway, &p.gateway}} {
		listener, err := net.FileListener(port.file)
		if err != nil {
			return nil, fmt.Errorf("opening a forwarded port: %w", err)
		}
		tcp, ok := listener.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("the forwarded port %s is not a TCP port", listener.Addr())
		}
		port.file.Close()
		*port.listener = tcp
	}
	return &p, nil
}

// Close closes the listeners of this process. Other processes that have the sockets can still use
// them.
func (p *ForwardedPorts) Close() {
	_ = p.api.Close()
	_ = p.gateway.Close()
}

func (p *ForwardedPorts) apiPort() int     { return portOf(p.api) }
func (p *ForwardedPorts) gatewayPort() int { return portOf(p.gateway) }

// serve forwards connections to the same ports inside until Close is called.
func (p *ForwardedPorts) serve() {
	for _, listener := range []*net.TCPListener{p.api, p.gateway} {
		go func() {
			for {
				client, err := listener.AcceptTCP()
				if err != nil {
					return
				}
				go forward(client, loopback(portOf(listener)))
			}
		}()
	}
}

// forward copies both directions of a connection until both have ended.
func forward(client *net.TCPConn, address string) {
	defer func() { _ = client.Close() }()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return // The client's connection is closed as if nothing listened.
	}
	defer func() { _ = connection.Close() }()
	server, ok := connection.(*net.TCPConn)
	if !ok {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyStream(server, client)
	}()
	copyStream(client, server)
	<-done
}

// copyStream copies until the end of the stream and then half-closes the destination.
func copyStream(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil { // One side is gone.
		_ = from.Close()
	}
	_ = to.CloseWrite()
}
