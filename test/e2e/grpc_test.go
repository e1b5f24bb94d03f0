// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

const (
	grpcPort         = 9000
	modelReadyMethod = "/inference.GRPCInferenceService/ModelReady"
)

// modelReadyRequest is a ModelReadyRequest for the model iris in gRPC framing. modelReadyResponse
// is the ModelReadyResponse that says that the model is ready.
var (
	modelReadyRequest  = append([]byte{0, 0, 0, 0, 6, 1<<3 | 2, 4}, iris...)
	modelReadyResponse = []byte{0, 0, 0, 0, 2, 1 << 3, 1}
)

var _ = describeInModes("a model that serves gRPC", modes, func(m mode) {
	It("is rolled out and rolled back like any other model", func(ctx SpecContext) {
		s := newScenario(ctx, m, scenarioNamespace(), iris)
		s.create(iris, model(1), grpcOnly())
		s.awaitSplit(iris, split{1: 100})
		s.probeGRPC()
		s.expectSplit(split{1: 100})
		s.apply("canary of 20 %", model(2), grpcOnly(), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		s.apply("promotion", model(2), grpcOnly())
		s.expectSplit(split{2: 100})
		s.apply("rollback", model(2), grpcOnly(), percent(0))
		s.expectSplit(split{1: 100, 2: 0})
	}, inCI, SpecTimeout(scenarioTimeout))
})

// Knative mode rejects a second port.
var _ = describeInModes("a model with a second port", []mode{inStandard}, func(m mode) {
	It("is reached on that port through the Service of the predictor", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1), httpAndGRPC())
		s.apply("canary of 20 %", model(2), httpAndGRPC(), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		Expect(s.callPredictorService()).To(Equal(revision(1)), "the stable has the largest share")
		s.apply("promotion", model(2), httpAndGRPC())
		s.expectSplit(split{2: 100})
		Eventually(s.callPredictorService).Should(Equal(revision(2)))
	}, SpecTimeout(scenarioTimeout))
})

func grpcOnly() option {
	return func(isvc *v1beta1.InferenceService) {
		container := &isvc.Spec.Predictor.Containers[0]
		container.Args = append(container.Args, fmt.Sprintf("--http_port=%d", grpcPort))
		container.Ports = []corev1.ContainerPort{{Name: "h2c", ContainerPort: grpcPort}}
		container.ReadinessProbe.HTTPGet.Port = intstr.FromInt32(grpcPort)
	}
}

func httpAndGRPC() option {
	return func(isvc *v1beta1.InferenceService) {
		container := &isvc.Spec.Predictor.Containers[0]
		container.Args = append(container.Args, fmt.Sprintf("--grpc_port=%d", grpcPort))
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: "grpc", ContainerPort: grpcPort})
	}
}

// probeGRPC waits until the gateway routes to the model, and then sends calls until the scenario
// ends.
func (s *scenario) probeGRPC() {
	GinkgoHelper()
	t := s.target(iris, rate)
	Eventually(callModelReady).WithArguments(s.ctx, gateway(), t.Host).Should(Equal(revision(1)))
	t.HTTP2, t.Path, t.Body, t.Header = true, modelReadyMethod, modelReadyRequest, grpcHeader()
	t.Revision = func(response *http.Response, _ []byte) string {
		if response.Trailer.Get("Grpc-Status") != "0" {
			return ""
		}
		return prober.ServedBy(response, nil)
	}
	t.Check = func(body []byte) error {
		if !bytes.Equal(body, modelReadyResponse) {
			return errors.New("the response does not say that the model is ready")
		}
		return nil
	}
	s.send(t)
}

func grpcHeader() http.Header {
	return http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
}

// callPredictorService calls the Service that has KServe's name for the predictor, and returns the
// revision that answers.
func (s *scenario) callPredictorService() (string, error) {
	service := &corev1.Service{}
	if err := api.Get(s.ctx, s.key(backend.PredictorName(iris)), service); err != nil {
		return "", err
	}
	if !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == grpcPort }) {
		return "", fmt.Errorf("Service %s has the ports %v", service.Name, service.Spec.Ports)
	}
	return callModelReady(s.ctx, net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(grpcPort)), iris)
}

// callModelReady makes one call and returns the revision that answers. It fails unless the model is
// ready.
func callModelReady(ctx context.Context, address, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+modelReadyMethod, bytes.NewReader(modelReadyRequest))
	if err != nil {
		return "", err
	}
	request.Host, request.Header = host, grpcHeader()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "", err
	case response.StatusCode != http.StatusOK || response.Trailer.Get("Grpc-Status") != "0" || !bytes.Equal(body, modelReadyResponse):
		return "", fmt.Errorf("ModelReady: status %s, trailer %v, body %q", response.Status, response.Trailer, body)
	}
	return prober.ServedBy(response, body), nil
}
