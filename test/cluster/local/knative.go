// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const knativeNamespace = "knative-serving"

var knativeImages = []string{"knative-controller", "knative-webhook", "knative-activator", "knative-autoscaler", "knative-queue"}

// PrepareKnative downloads the manifests that the level Knative needs. Call it outside of the
// namespaces, which have no network.
func PrepareKnative(ctx context.Context) error {
	_, err := knativeDirs(ctx)
	return err
}

func startKnative(ctx context.Context, c *Cluster) error {
	objects, err := knativeObjects(ctx)
	if err != nil {
		return err
	}
	first := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Deployment" })
	group, install := errgroup.WithContext(ctx)
	group.Go(func() error {
		for _, name := range knativeImages {
			if err := c.LoadImage(install, c.options.image(name)); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error { return c.Apply(install, objects[:first]) })
	if err := group.Wait(); err != nil {
		return err
	}
	// The kubelet would retry a missing image only after a back-off, so the images come first.
	if err := c.Apply(ctx, objects[first:]); err != nil {
		return err
	}
	for _, name := range []string{"controller", "webhook", "activator", "autoscaler"} {
		if err := poll(ctx, c.deploymentAvailable(knativeNamespace, name)); err != nil {
			return err
		}
	}
	return poll(ctx, c.knativeReady)
}

func (c *Cluster) deploymentAvailable(namespace, name string) condition {
	return func(ctx context.Context) error {
		clients, err := kubernetes.NewForConfig(c.config)
		if err != nil {
			return err
		}
		deployment, err := clients.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isAvailable(deployment) {
			return fmt.Errorf("the Deployment %s is not available; the logs of its pods are in %s", name, c.LogDir())
		}
		return nil
	}
}

func isAvailable(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == *d.Spec.Replicas
}

func (c *Cluster) knativeReady(ctx context.Context) error {
	service := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "serving.knative.dev/v1", "kind": "Service",
		"metadata": map[string]any{"namespace": "default", "name": "trial"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"image": "dev.local/trial:1"}},
		}}},
	}}
	return c.client.Create(ctx, service, client.DryRunAll)
}

// startKnativeIngress starts the controller that serves Knative's Ingresses through the gateway,
// and creates a Service by which pods reach the gateway.
func startKnativeIngress(ctx context.Context, c *Cluster) error {
	manifest, err := manifests.ReadFile("manifests/knative-gateway.yaml")
	if err != nil {
		return err
	}
	manifest = bytes.ReplaceAll(manifest, []byte("GATEWAY_PORT"), []byte(strconv.Itoa(c.gatewayPort)))
	objects, err := Decode(bytes.ReplaceAll(manifest, []byte("NODE_ADDRESS"), []byte(nodeAddress)))
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects); err != nil {
		return err
	}
	kubeconfig, err := c.componentKubeconfig("knative-ingress", "system:masters")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	process, err := c.processes.start("knative-ingress", c.Tool("knative-ingress"), []string{
		"--kubeconfig=" + kubeconfig,
		"--gateway-namespace=" + gatewayNamespace,
		"--gateway-name=" + gatewayName,
		"--gateway-address=" + loopback(c.gatewayPort),
		"--gateway-service=knative-local-gateway." + knativeNamespace + ".svc.cluster.local",
		"--address=" + nodeAddress,
		"--health=" + loopback(port),
	})
	if err != nil {
		return err
	}
	if err := process.await(ctx, healthy("http://"+loopback(port)+"/readyz")); err != nil {
		return err
	}
	return c.allowHostRoutes(ctx, "kserve-test") // The namespace of the quickstart.
}

// allowHostRoutes creates a ReferenceGrant that allows HTTPRoutes of a namespace to refer to
// Knative's ingress. InferenceServices in Knative mode need it to be reachable by their own host.
// In production an administrator creates it.
func (c *Cluster) allowHostRoutes(ctx context.Context, namespace string) error {
	manifest, err := manifests.ReadFile("manifests/knative-grant.yaml")
	if err != nil {
		return err
	}
	objects, err := Decode(bytes.ReplaceAll(manifest, []byte("FROM_NAMESPACE"), []byte(namespace)))
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects)
}
