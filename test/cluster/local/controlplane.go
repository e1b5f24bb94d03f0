// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// startEtcd starts etcd without fsync because its data need not survive a crash.
func startEtcd(ctx context.Context, c *Cluster) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	c.etcdURL = "http://" + loopback(ports[0])
	peerURL := "http://" + loopback(ports[1])
	process, err := c.processes.start("etcd", c.Tool("etcd"), []string{
		"--data-dir=" + filepath.Join(c.dataDir, "etcd"),
		"--listen-client-urls=" + c.etcdURL,
		"--advertise-client-urls=" + c.etcdURL,
		"--listen-peer-urls=" + peerURL,
		"--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=default=" + peerURL,
		"--unsafe-no-fsync",
		"--quota-backend-bytes=8589934592",
		"--log-level=warn",
	})
	if err != nil {
		return err
	}
	return process.await(ctx, healthy(c.etcdURL+"/readyz"))
}

func startAPIServer(ctx context.Context, c *Cluster) error {
	port, err := c.apiPort()
	if err != nil {
		return err
	}
	if err := c.writeServerCertificates(); err != nil {
		return err
	}
	placement := []string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // Endpoints must not have loopback addresses.
		"--authorization-mode=RBAC",
	}
	if c.options.Level.RunsPods() {
		if placement, err = c.apiServerOnNode(); err != nil {
			return err
		}
	}
	args := slices.Concat([]string{
		"--etcd-servers=" + c.etcdURL,
		fmt.Sprintf("--secure-port=%d", port),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--allow-privileged",
		"--client-ca-file=" + c.pki.path("ca.crt"),
		"--requestheader-client-ca-file=" + c.pki.path("ca.crt"), // The scheduler and the controllers require it.
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--tls-cert-file=" + c.pki.path("server.crt"),
		"--tls-private-key-file=" + c.pki.path("server.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki.path("tokens.pub"),
		"--service-account-signing-key-file=" + c.pki.path("tokens.key"),
		"--cert-dir=" + c.pkiDir(),
	}, placement, c.options.APIServerFlags)
	process, err := c.processes.start("kube-apiserver", c.Tool("kube-apiserver"), args)
	if err != nil {
		return err
	}
	c.server = "https://" + loopback(port)
	if err := c.writeAdminKubeconfig(); err != nil {
		return err
	}
	if err := process.await(ctx, apiServerReady(c.config)); err != nil {
		return err
	}
	return c.connect()
}

func (c *Cluster) apiPort() (int, error) {
	if c.options.ForwardedPorts != nil {
		return c.options.ForwardedPorts.apiPort(), nil
	}
	return freePort()
}

func (c *Cluster) connect() error {
	scheme := runtime.NewScheme()
	if err := gatewayv1.Install(scheme); err != nil {
		return err
	}
	var err error
	c.client, err = client.New(c.config, client.Options{Scheme: scheme})
	return err
}

func (c *Cluster) writeServerCertificates() error {
	server, err := c.pki.server()
	if err != nil {
		return err
	}
	if err := c.pki.write("server.crt", server.cert); err != nil {
		return err
	}
	if err := c.pki.write("server.key", server.key); err != nil {
		return err
	}
	return c.pki.writeTokenKeys()
}

func (c *Cluster) writeAdminKubeconfig() error {
	admin, err := c.pki.client("admin", "system:masters")
	if err != nil {
		return err
	}
	err = c.writeKubeconfig(c.Kubeconfig(), clientcmdapi.AuthInfo{ClientCertificateData: admin.cert, ClientKeyData: admin.key})
	if err != nil {
		return err
	}
	c.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	c.config.QPS = -1
	return nil
}
