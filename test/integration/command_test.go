// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// process is a running manager command. It acts on all namespaces, so its scenarios are serial.
type process struct {
	session         *gexec.Session
	health, metrics string
}

var build = sync.OnceValues(func() (string, error) {
	return gexec.Build("github.com/serinus-io/serinus/cmd/manager")
})

// launch starts the command with the rights of the operator's ServiceAccount, and waits until it is
// ready.
func launch() *process {
	GinkgoHelper()
	program, err := build()
	Expect(err).NotTo(HaveOccurred())
	p := &process{health: freeAddress(), metrics: freeAddress()}
	command := exec.Command(program, "--config="+p.configFile(), "--kubeconfig="+operatorKubeconfig())
	p.session, err = gexec.Start(command, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { p.session.Kill().Wait(10 * time.Second) })
	Eventually(func() (int, error) {
		if p.session.ExitCode() >= 0 {
			return 0, StopTrying("the operator has exited: " + string(p.session.Err.Contents()))
		}
		return statusOf("http://" + p.health + "/readyz")
	}).Should(Equal(http.StatusOK))
	return p
}

// configFile writes a configuration with short periods and with the addresses of this process.
func (p *process) configFile() string {
	GinkgoHelper()
	content, err := yaml.Marshal(map[string]any{
		"apiVersion":     "config.serinus.io/v1alpha1",
		"kind":           "OperatorConfiguration",
		"rollout":        map[string]any{"drainPeriod": "100ms", "settlePeriod": "500ms", "capacityHold": "500ms"},
		"leaderElection": map[string]any{"namespace": "serinus-system", "leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"},
		"health":         map[string]any{"bindAddress": p.health},
		"metrics":        map[string]any{"bindAddress": p.metrics},
	})
	Expect(err).NotTo(HaveOccurred())
	path := filepath.Join(GinkgoT().TempDir(), "operator.yaml")
	Expect(os.WriteFile(path, content, 0o600)).To(Succeed())
	return path
}

// operatorKubeconfig writes a kubeconfig for the operator's ServiceAccount.
func operatorKubeconfig() string {
	GinkgoHelper()
	path := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"test": {
			Server: asOperator.Host, CertificateAuthorityData: asOperator.CAData,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"operator": {Token: asOperator.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "operator"}},
		CurrentContext: "test",
	}, path)).To(Succeed())
	return path
}

func freeAddress() string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
}

func statusOf(url string) (int, error) {
	response, err := http.Get(url) //nolint:noctx // The client of the test, on loopback.
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func (s *scenario) runSuggestedCommand(conditionType string) {
	GinkgoHelper()
	condition, err := s.conditionOf(conditionType)
	Expect(err).NotTo(HaveOccurred())
	_, command, found := strings.Cut(condition.Message, "kubectl ")
	Expect(found).To(BeTrue(), condition.Message)
	words, patch, _ := strings.Cut(command, " -p '")
	arguments := strings.Fields(words)
	if patch, _, quoted := strings.Cut(patch, "'"); quoted {
		arguments = append(arguments, "-p", patch)
	}
	_, err = kubectl("", arguments...)
	Expect(err).NotTo(HaveOccurred())
}

// kubectl runs kubectl as administrator.
func kubectl(stdin string, arguments ...string) (string, error) {
	path := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	if err := os.WriteFile(path, kubeconfig, 0o600); err != nil {
		return "", err
	}
	command := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+path)
	command.Stdin = bytes.NewBufferString(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl %v: %w: %s", arguments, err, stderr.String())
	}
	return stdout.String(), nil
}
