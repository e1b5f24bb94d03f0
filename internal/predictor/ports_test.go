// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func runtimeWithPorts(t *testing.T, ports, more string) Runtimes {
	t.Helper()
	return cluster(runtimeFrom(t, "sklearn",
		"supportedModelFormats: [{name: sklearn, autoSelect: true}]\ncontainers: [{name: kserve-container, ports: "+ports+"}"+more+"]"))
}

func TestServicePorts(t *testing.T) {
	const transformer = ", {name: transformer-container, ports: [{containerPort: 9090}, {containerPort: 9091}]}"
	cases := map[string]struct {
		predictor   string
		runtimes    Runtimes
		port        int32
		appProtocol string
		more        string
	}{
		"REST and gRPC": {
			"containers: [{ports: [{name: http, containerPort: 8080}, {name: h2c, containerPort: 9000}]}]",
			Runtimes{},
			8080, "", "[{name: h2c, protocol: TCP, port: 9000, targetPort: 9000, appProtocol: kubernetes.io/h2c}]",
		},
		"gRPC and REST": {
			"containers: [{ports: [{name: grpc-port, containerPort: 9000}, {name: http, containerPort: 8080}]}]",
			Runtimes{},
			9000, "kubernetes.io/h2c", "[{name: http-8080, protocol: TCP, port: 8080, targetPort: 8080}]",
		},
		"without names, with a duplicate": {
			"containers: [{ports: [{containerPort: 8080}, {containerPort: 53, protocol: UDP}, {containerPort: 53}, {containerPort: 53}]}]",
			Runtimes{},
			8080, "", "[{name: udp-53, protocol: UDP, port: 53, targetPort: 53}, {name: tcp-53, protocol: TCP, port: 53, targetPort: 53}]",
		},
		"the runtime's ports": {
			"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[{containerPort: 8080}, {name: grpc, containerPort: 8033}]", ""),
			8080, "", "[{name: grpc, protocol: TCP, port: 8033, targetPort: 8033, appProtocol: kubernetes.io/h2c}]",
		},
		"the model's port serves, the runtime lists it second": {
			"model: {modelFormat: {name: sklearn}, ports: [{name: h2c, containerPort: 9000}]}",
			runtimeWithPorts(t, "[{name: http, containerPort: 8080}, {name: h2c, containerPort: 9000}]", ""),
			9000, "kubernetes.io/h2c", "[{name: http-8080, protocol: TCP, port: 8080, targetPort: 8080}]",
		},
		"the model's port serves, the runtime does not list it": {
			"model: {modelFormat: {name: sklearn}, ports: [{containerPort: 9000}]}", runtimeWithPorts(t, "[{name: http, containerPort: 8080}]", ""),
			9000, "", "[{name: http-8080, protocol: TCP, port: 8080, targetPort: 8080}]",
		},
		"a port with the same name replaces the runtime's": {
			"model: {modelFormat: {name: sklearn}, ports: [{name: http, containerPort: 9000}]}", runtimeWithPorts(t, "[{name: http, containerPort: 8080}]", ""),
			9000, "", "",
		},
		"the model's order": {
			"model: {modelFormat: {name: sklearn}, ports: [{containerPort: 3}, {containerPort: 2}]}",
			runtimeWithPorts(t, "[{containerPort: 1}, {containerPort: 2}]", ""),
			3, "", "[{name: tcp-2, protocol: TCP, port: 2, targetPort: 2}, {name: tcp-1, protocol: TCP, port: 1, targetPort: 1}]",
		},
		"the transformer's ports": {
			"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[{containerPort: 8080}, {containerPort: 8081}]", transformer),
			9090, "", "[{name: tcp-9091, protocol: TCP, port: 9091, targetPort: 9091}]",
		},
		"no ports": {"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[]", ""), 8080, "", ""},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, test.predictor)
			for i := range isvc.Spec.Predictor.Containers {
				isvc.Spec.Predictor.Containers[i].Name = v1beta1.ServingContainerName
			}
			revision, err := resolve(t, isvc, test.runtimes).Render(Credentials{})
			if err != nil {
				t.Fatal(err)
			}
			if revision.Port != test.port || revision.AppProtocol != test.appProtocol {
				t.Errorf("got port %d %q, want %d %q", revision.Port, revision.AppProtocol, test.port, test.appProtocol)
			}
			var want []corev1.ServicePort
			if err := yaml.UnmarshalStrict([]byte(test.more), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, revision.AdditionalPorts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("additional ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPort80MustBeFirst(t *testing.T) {
	for predictor, field := range map[string]string{
		"containers: [{name: kserve-container, ports: [{containerPort: 8080}, {containerPort: 80}]}]": "spec.predictor.containers[kserve-container].ports",
		"model: {modelFormat: {name: sklearn}, ports: [{containerPort: 8080}, {containerPort: 80}]}":  "spec.predictor.model.ports",
	} {
		_, err := resolve(t, isvcFrom(t, predictor), runtimeWithPorts(t, "[]", "")).Render(Credentials{})
		wantError(t, err, Error{
			Reason: v1beta1.InvalidPredictorSpec, Field: field,
			Message: "port 80 is listed after port 8080, but port 80 of the Service forwards to the first port; list 80 first",
		})
	}
}

// TestKnativePorts: Knative rejects a pod with two ports, and all but two port names.
func TestKnativePorts(t *testing.T) {
	const two = "[{name: http, containerPort: 8080}, {name: grpc, containerPort: 9000}]"
	cases := map[string]struct {
		predictor string
		runtimes  Runtimes
		want      string // The ports of each container, or the error.
		problem   string
	}{
		"none": {"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[]", ""), "[[]]", ""},
		"one": {
			"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[{containerPort: 8080, name: h2c}]", ""), "[[{containerPort: 8080, name: h2c}]]", "",
		},
		"another name": {
			"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, "[{containerPort: 8080, name: http}]", ""), "[[{containerPort: 8080, name: http1}]]", "",
		},
		"another name for gRPC": {
			"containers: [{name: kserve-container, ports: [{containerPort: 9000, name: grpc-port}]}]", Runtimes{}, "[[{containerPort: 9000, name: h2c}]]", "",
		},
		"the model's port replaces the runtime's": {
			"model: {modelFormat: {name: sklearn}, ports: [{name: h2c, containerPort: 9000}]}", runtimeWithPorts(t, two, ""),
			"[[{containerPort: 9000, name: h2c}]]", "",
		},
		"two in the runtime": {
			"model: {modelFormat: {name: sklearn}}", runtimeWithPorts(t, two, ""), "",
			"spec.predictor.model.ports: container kserve-container lists the ports 8080 and 9000, and in Knative mode only one can be reached; set this field to the port that serves requests",
		},
		"two in a container": {
			"containers: [{name: kserve-container, ports: " + two + "}]",
			Runtimes{},
			"",
			"spec.predictor.containers[kserve-container].ports: container kserve-container lists the ports 8080 and 9000, and in Knative mode only one can be reached; set this field to the port that serves requests",
		},
		"behind a transformer": {
			"model: {modelFormat: {name: sklearn}}\ncontainers: [{name: transformer-container, ports: [{containerPort: 8081}]}, {name: metrics}]",
			runtimeWithPorts(t, two, ""), "[[], [{containerPort: 8081}], []]", "",
		},
		"behind a transformer without ports": {
			"model: {modelFormat: {name: sklearn}}\ncontainers: [{name: transformer-container}]",
			runtimeWithPorts(t, "[]", ""), "[[], [{containerPort: 8080}]]", "",
		},
		"in a sidecar": {
			"containers: [{name: kserve-container, ports: [{containerPort: 8080}]}, {name: metrics, ports: [{containerPort: 9090}]}]",
			Runtimes{},
			"",
			"spec.predictor.containers[metrics].ports: container metrics lists port 9090, and in Knative mode only the port of kserve-container can be reached; remove it",
		},
	}
	settings := defaultSettings()
	settings.Mode = v1beta1.DeploymentModeKnative
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			resolved, err := Resolve(isvcFrom(t, test.predictor), test.runtimes, settings)
			if err != nil {
				t.Fatal(err)
			}
			revision, err := resolved.Render(Credentials{})
			if test.problem != "" {
				if err == nil || err.Error() != test.problem {
					t.Errorf("got error %v, want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want, got [][]corev1.ContainerPort
			if err := yaml.UnmarshalStrict([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			probed := 0
			for _, container := range revision.Template.Spec.Containers {
				got = append(got, container.Ports)
				if container.ReadinessProbe != nil {
					probed++
				}
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			if probed != 1 {
				t.Errorf("got readiness probes on %d containers; Knative allows one", probed)
			}
		})
	}
}

func TestProbesOfARenamedPort(t *testing.T) {
	settings := defaultSettings()
	settings.Mode = v1beta1.DeploymentModeKnative
	resolved, err := Resolve(isvcFrom(t, "containers: [{name: kserve-container, ports: [{containerPort: 8081, name: rest}], "+
		"readinessProbe: {httpGet: {path: /, port: rest}}, livenessProbe: {tcpSocket: {port: 8081}}}]"), Runtimes{}, settings)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := resolved.Render(Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	container := revision.Template.Spec.Containers[0]
	if got := container.ReadinessProbe.HTTPGet.Port.String(); got != "8081" {
		t.Errorf("readiness probe: got port %s, want 8081", got)
	}
	if got := container.LivenessProbe.TCPSocket.Port.String(); got != "8081" {
		t.Errorf("liveness probe: got port %s, want 8081", got)
	}
}
