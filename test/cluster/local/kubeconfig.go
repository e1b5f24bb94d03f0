// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const contextName = "serinus-local"

func (c *Cluster) writeKubeconfig(path string, user clientcmdapi.AuthInfo) error {
	config := clientcmdapi.NewConfig()
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: c.server, CertificateAuthorityData: c.pki.authority()}
	config.AuthInfos[contextName] = &user
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: contextName}
	config.CurrentContext = contextName
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing kubeconfig: %w", err)
	}
	return nil
}

func (c *Cluster) componentKubeconfig(user string, groups ...string) (path string, err error) {
	id, err := c.pki.client(user, groups...)
	if err != nil {
		return "", err
	}
	path = c.pki.path(filepath.Base(user) + ".kubeconfig")
	return path, c.writeKubeconfig(path, clientcmdapi.AuthInfo{ClientCertificateData: id.cert, ClientKeyData: id.key})
}

// ServiceAccountKubeconfig writes a kubeconfig with a token of the ServiceAccount and returns its
// path.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	clients, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(pkiLifetime / time.Second))},
	}
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	path = c.pki.path(namespace + "." + name + ".kubeconfig")
	return path, c.writeKubeconfig(path, clientcmdapi.AuthInfo{Token: token.Status.Token})
}
