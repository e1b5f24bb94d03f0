// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// The objects in testdata/served are the results of these intents on kube-apiserver 1.37 with the
// CRDs of the Gateway API 1.6. They contain its defaults and its form of quantities.

func intendedDeployment() *appsv1.Deployment {
	return deployment(testkit.NewInferenceService(), 2, newRevision(withAllKindsOfFields), 3, 10*time.Minute)
}

func intendedService() *corev1.Service {
	return service(testkit.NewInferenceService(), 2, newRevision(func(r *backend.RenderedRevision) { r.Runs.AppProtocol = "kubernetes.io/h2c" }))
}

func intendedAutoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	isvc := testkit.NewInferenceService(testkit.ReplicaBounds(2, 10))
	return autoscaler(isvc, 2, intent.Bounds(isvc, v1beta1.DeploymentModeStandard), 3)
}

func intendedRoute(t *testing.T) *gatewayv1.HTTPRoute {
	t.Helper()
	state := rollout.State{
		Stable: 1, Target: 2, Split: split(t, 2, 10, 1, 90), ServedBefore: rollout.All(1), ShiftedAt: testkit.Start, Highest: 2,
	}
	return mainRoute(testkit.NewInferenceService(), newConfig(localGateway).Ingress, state, requestTimeout("90s"))
}

func intendedTagRoute() *gatewayv1.HTTPRoute {
	return tagRoute(testkit.NewInferenceService(), newConfig(localGateway).Ingress, v1beta1.TagPrevious, 1, nil)
}

func intendedStoppedRoute() *gatewayv1.HTTPRoute {
	return mainRoute(testkit.NewInferenceService(), newConfig(localGateway).Ingress, rollout.State{Stable: 1, Target: 2}, nil)
}

// withAllKindsOfFields adds a field for each kind of default that the API server sets in pods.
func withAllKindsOfFields(r *backend.RenderedRevision) {
	pod := &r.Runs.Template.Spec
	server := &pod.Containers[0]
	server.Ports = append(server.Ports, corev1.ContainerPort{Name: "http", ContainerPort: 8081})
	server.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)},
	}}
	server.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")},
	}}
	server.Env = append(server.Env,
		corev1.EnvVar{Name: "EMPTY"},
		corev1.EnvVar{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		corev1.EnvVar{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k",
		}}},
	)
	server.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100.5m")}, // The API server rounds it up.
		Limits: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("0.5"), corev1.ResourceMemory: resource.MustParse("1e9"),
			corev1.ResourceEphemeralStorage: resource.MustParse("0.5Gi"), "nvidia.com/gpu": resource.MustParse("1"),
		},
	}
	server.SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	for name, source := range map[string]corev1.VolumeSource{
		"s":    {Secret: &corev1.SecretVolumeSource{SecretName: "s"}},
		"c":    {ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}},
		"p":    {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c", ReadOnly: true}},
		"shm":  {EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1.5Gi"))}},
		"oci":  {Image: &corev1.ImageVolumeSource{Reference: "quay.io/x/y:1"}},
		"proj": {Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}}}},
		"host": {HostPath: &corev1.HostPathVolumeSource{Path: "/x"}},
	} {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
	pod.ServiceAccountName = "iris"
	pod.AutomountServiceAccountToken = new(false)
	pod.Tolerations = []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists}}
	pod.NodeSelector = map[string]string{"gpu": "yes"}
	pod.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	pod.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			{Weight: 1, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname}},
		},
	}}
	pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
		{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.ScheduleAnyway},
	}
	pod.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(1000))}
	pod.TerminationGracePeriodSeconds = new(int64(60))
	pod.HostAliases = []corev1.HostAlias{{IP: "127.0.0.1", Hostnames: []string{"a"}}}
	pod.DNSConfig = &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}}}
}

func served[T client.Object](t *testing.T, file string, into T) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "served", file+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return into
}

func isUpToDate(t *testing.T, intended, observed client.Object, how objects.Lists) bool {
	t.Helper()
	written, err := objects.IntentOf(intended, newScheme(t))
	if err != nil {
		t.Fatal(err)
	}
	same, err := objects.IsUpToDate(written, observed, how)
	if err != nil {
		t.Fatal(err)
	}
	return same
}

func TestServedObjectsAreUpToDate(t *testing.T) {
	for name, test := range map[string]struct {
		intended, observed client.Object
		how                objects.Lists
	}{
		"deployment":    {intendedDeployment(), served(t, "deployment", &appsv1.Deployment{}), objects.SharedLists},
		"service":       {intendedService(), served(t, "service", &corev1.Service{}), objects.SharedLists},
		"autoscaler":    {intendedAutoscaler(), served(t, "autoscaler", &autoscalingv2.HorizontalPodAutoscaler{}), objects.ExactLists},
		"route":         {intendedRoute(t), served(t, "route", &gatewayv1.HTTPRoute{}), objects.ExactLists},
		"tag route":     {intendedTagRoute(), served(t, "tag-route", &gatewayv1.HTTPRoute{}), objects.ExactLists},
		"stopped route": {intendedStoppedRoute(), served(t, "stopped-route", &gatewayv1.HTTPRoute{}), objects.ExactLists},
	} {
		t.Run(name, func(t *testing.T) {
			if !isUpToDate(t, test.intended, test.observed, test.how) {
				t.Error("each reconciliation would write it again")
			}
		})
	}
}

// drift is a change by another writer, and whether it must be undone.
type drift[T any] struct {
	edit   func(T)
	undone bool
}

func checkDrift[T client.Object](t *testing.T, intended T, read func(*testing.T) T, how objects.Lists, table map[string]drift[T]) {
	t.Helper()
	for name, test := range table {
		t.Run(name, func(t *testing.T) {
			observed := read(t)
			test.edit(observed)
			if undone := !isUpToDate(t, intended, observed, how); undone != test.undone {
				t.Errorf("undone: %t, want %t", undone, test.undone)
			}
		})
	}
}

// everyDrift returns the changes of metadata that apply to every object.
func everyDrift[T client.Object]() map[string]drift[T] {
	return map[string]drift[T]{
		"a label of ours is removed": {undone: true, edit: func(o T) { delete(o.GetLabels(), v1beta1.LabelManagedBy) }},
		"a label of ours is changed": {undone: true, edit: func(o T) { o.GetLabels()[v1beta1.LabelComponent] = "explainer" }},
		"the owner is removed":       {undone: true, edit: func(o T) { o.SetOwnerReferences(nil) }},
		"the owner no longer controls": {undone: true, edit: func(o T) {
			owners := o.GetOwnerReferences()
			owners[0].Controller = new(false)
			o.SetOwnerReferences(owners)
		}},
		"an annotation of ours is added": {undone: true, edit: func(o T) {
			annotate(o, annotationIdleSince, testkit.Start.Format(time.RFC3339Nano))
		}},
		"a label of the user's is removed": {edit: func(o T) { delete(o.GetLabels(), "team") }},
		"a label is added":                 {edit: func(o T) { o.GetLabels()["team"] = "iris" }},
		"an annotation is added":           {edit: func(o T) { annotate(o, "deployment.kubernetes.io/revision", "1") }},
		"another owner is added":           {edit: func(o T) { o.SetOwnerReferences(append(o.GetOwnerReferences(), metav1.OwnerReference{Kind: "App"})) }},
		"a finalizer is added":             {edit: func(o T) { o.SetFinalizers([]string{"foregroundDeletion"}) }},
		"the object is rewritten":          {edit: func(o T) { o.SetResourceVersion("9999"); o.SetGeneration(99) }},
	}
}

func annotate(object client.Object, key, value string) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	object.SetAnnotations(annotations)
}

func TestDriftOfMetadata(t *testing.T) {
	checkDrift(t, intendedDeployment(), func(t *testing.T) *appsv1.Deployment {
		t.Helper()
		return served(t, "deployment", &appsv1.Deployment{})
	}, objects.SharedLists, everyDrift[*appsv1.Deployment]())
	checkDrift(t, intendedRoute(t), func(t *testing.T) *gatewayv1.HTTPRoute {
		t.Helper()
		return served(t, "route", &gatewayv1.HTTPRoute{})
	}, objects.ExactLists, everyDrift[*gatewayv1.HTTPRoute]())
}

func TestDriftOfADeployment(t *testing.T) {
	server := func(d *appsv1.Deployment) *corev1.Container { return &d.Spec.Template.Spec.Containers[0] }
	checkDrift(t, intendedDeployment(), func(t *testing.T) *appsv1.Deployment {
		t.Helper()
		return served(t, "deployment", &appsv1.Deployment{})
	}, objects.SharedLists, map[string]drift[*appsv1.Deployment]{
		"it is scaled":              {undone: true, edit: func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) }},
		"its image is changed":      {undone: true, edit: func(d *appsv1.Deployment) { server(d).Image = "evil" }},
		"an argument is changed":    {undone: true, edit: func(d *appsv1.Deployment) { server(d).Args[0] = "--model_name=other" }},
		"an argument is added":      {undone: true, edit: func(d *appsv1.Deployment) { server(d).Args = append(server(d).Args, "--debug") }},
		"a variable is changed":     {undone: true, edit: func(d *appsv1.Deployment) { server(d).Env[0].Value = "other" }},
		"a variable is removed":     {undone: true, edit: func(d *appsv1.Deployment) { server(d).Env = server(d).Env[1:] }},
		"a limit is changed":        {undone: true, edit: func(d *appsv1.Deployment) { server(d).Resources.Limits[corev1.ResourceCPU] = resource.MustParse("2") }},
		"a limit is removed":        {undone: true, edit: func(d *appsv1.Deployment) { delete(server(d).Resources.Limits, corev1.ResourceMemory) }},
		"the init container goes":   {undone: true, edit: func(d *appsv1.Deployment) { d.Spec.Template.Spec.InitContainers = nil }},
		"a volume is changed":       {undone: true, edit: func(d *appsv1.Deployment) { d.Spec.Template.Spec.Volumes[1].Secret.SecretName = "other" }},
		"the node selector changes": {undone: true, edit: func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = nil }},
		"a pod label is removed":    {undone: true, edit: func(d *appsv1.Deployment) { delete(d.Spec.Template.Labels, "team") }},
		"its deadline is changed":   {undone: true, edit: func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = new(int32(5)) }},
		"its strategy is changed": {undone: true, edit: func(d *appsv1.Deployment) {
			d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		}},
		"its surge is changed": {undone: true, edit: func(d *appsv1.Deployment) {
			d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromInt32(7))
		}},
		"a sidecar is injected": {edit: func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers = append([]corev1.Container{{Name: "proxy", Image: "mesh"}}, d.Spec.Template.Spec.Containers...)
		}},
		"a variable is injected": {edit: func(d *appsv1.Deployment) {
			server(d).Env = append([]corev1.EnvVar{{Name: "HTTP_PROXY", Value: "x"}}, server(d).Env...)
		}},
		"a volume is injected": {edit: func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Volumes = append(d.Spec.Template.Spec.Volumes, corev1.Volume{Name: "ca"})
		}},
		"a toleration is injected": {edit: func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Tolerations = append(d.Spec.Template.Spec.Tolerations, corev1.Toleration{Key: "spot"})
		}},
		"it is restarted by kubectl": {edit: func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-23T08:00:00Z"
		}},
		"its history limit is changed": {edit: func(d *appsv1.Deployment) { d.Spec.RevisionHistoryLimit = new(int32(2)) }},
		"its status changes":           {edit: func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 3 }},
	})
}

func TestDriftOfAService(t *testing.T) {
	checkDrift(t, intendedService(), func(t *testing.T) *corev1.Service {
		t.Helper()
		return served(t, "service", &corev1.Service{})
	}, objects.SharedLists, map[string]drift[*corev1.Service]{
		"its selector is narrowed":    {undone: true, edit: func(s *corev1.Service) { s.Spec.Selector["debug"] = "true" }},
		"its selector is widened":     {undone: true, edit: func(s *corev1.Service) { delete(s.Spec.Selector, v1beta1.LabelRevision) }},
		"it leads to another port":    {undone: true, edit: func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(9) }},
		"its port is changed":         {undone: true, edit: func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 }},
		"its protocol is forgotten":   {undone: true, edit: func(s *corev1.Service) { s.Spec.Ports[0].AppProtocol = nil }},
		"it leads out of the cluster": {undone: true, edit: func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }},
		"it has another address":      {edit: func(s *corev1.Service) { s.Spec.ClusterIP = "10.0.0.9" }},
		"it is dual-stack":            {edit: func(s *corev1.Service) { s.Spec.IPFamilies = append(s.Spec.IPFamilies, corev1.IPv6Protocol) }},
		"a port for metrics is added": {edit: func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "metrics", Port: 9090})
		}},
		"the load balancer reports":     {edit: func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}} }},
		"its session affinity is named": {edit: func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityNone }},
	})
}

func TestDriftOfAnAutoscaler(t *testing.T) {
	type hpa = autoscalingv2.HorizontalPodAutoscaler
	checkDrift(t, intendedAutoscaler(), func(t *testing.T) *hpa {
		t.Helper()
		return served(t, "autoscaler", &hpa{})
	}, objects.ExactLists, map[string]drift[*hpa]{
		"its minimum is changed":        {undone: true, edit: func(h *hpa) { h.Spec.MinReplicas = new(int32(1)) }},
		"its maximum is changed":        {undone: true, edit: func(h *hpa) { h.Spec.MaxReplicas = 99 }},
		"it scales another Deployment":  {undone: true, edit: func(h *hpa) { h.Spec.ScaleTargetRef.Name = "other" }},
		"its target is changed":         {undone: true, edit: func(h *hpa) { h.Spec.Metrics[0].Resource.Target.AverageUtilization = new(int32(1)) }},
		"a metric is added":             {undone: true, edit: func(h *hpa) { h.Spec.Metrics = append(h.Spec.Metrics, h.Spec.Metrics[0]) }},
		"its behaviour is tuned":        {edit: func(h *hpa) { h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{} }},
		"it reports what it has scaled": {edit: func(h *hpa) { h.Status.DesiredReplicas = 7 }},
	})
}

func TestDriftOfARoute(t *testing.T) {
	rule := func(r *gatewayv1.HTTPRoute) *gatewayv1.HTTPRouteRule { return &r.Spec.Rules[0] }
	mirror := gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestMirror}
	read := func(t *testing.T) *gatewayv1.HTTPRoute {
		t.Helper()
		return served(t, "route", &gatewayv1.HTTPRoute{})
	}
	checkDrift(t, intendedRoute(t), read, objects.ExactLists, map[string]drift[*gatewayv1.HTTPRoute]{
		"a weight is changed":  {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Weight = new(int32(50)) }},
		"a weight is removed":  {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Weight = nil }},
		"a backend is changed": {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Name = "other" }},
		"a backend is added": {undone: true, edit: func(r *gatewayv1.HTTPRoute) {
			rule(r).BackendRefs = append(rule(r).BackendRefs, rule(r).BackendRefs[0])
		}},
		"a backend is removed":           {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs = rule(r).BackendRefs[:1] }},
		"the port of a backend changes":  {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Port = new(gatewayv1.PortNumber(81)) }},
		"a backend of another namespace": {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Namespace = new(gatewayv1.Namespace("x")) }},
		"a filter is put before one":     {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).BackendRefs[0].Filters = []gatewayv1.HTTPRouteFilter{mirror} }},
		"a rule is added":                {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = append(r.Spec.Rules, gatewayv1.HTTPRouteRule{}) }},
		"all rules are removed":          {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = nil }},
		"a filter is added":              {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Filters = []gatewayv1.HTTPRouteFilter{mirror} }},
		"it is narrowed to a path":       {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Matches[0].Path.Value = new("/v2") }},
		"it is narrowed to a method":     {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Matches[0].Method = new(gatewayv1.HTTPMethodGet) }},
		"its timeout is changed":         {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Timeouts.Request = new(gatewayv1.Duration("1s")) }},
		"its timeout is removed":         {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Timeouts = nil }},
		"a timeout of backends is added": {undone: true, edit: func(r *gatewayv1.HTTPRoute) { rule(r).Timeouts.BackendRequest = new(gatewayv1.Duration("1s")) }},
		"a host is added":                {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = append(r.Spec.Hostnames, "evil.example.com") }},
		"a host is removed":              {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = r.Spec.Hostnames[1:] }},
		"a gateway is added":             {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs = append(r.Spec.ParentRefs, r.Spec.ParentRefs[0]) }},
		"a gateway is removed":           {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs = r.Spec.ParentRefs[:1] }},
		"it is kept to one listener":     {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs[0].SectionName = new(gatewayv1.SectionName("x")) }},
		"the rollout state is edited":    {undone: true, edit: func(r *gatewayv1.HTTPRoute) { annotate(r, objects.AnnotationState, "{}") }},
		"the rollout state is removed":   {undone: true, edit: func(r *gatewayv1.HTTPRoute) { r.SetAnnotations(nil) }},
		"the gateway reports":            {edit: func(r *gatewayv1.HTTPRoute) { r.Status.Parents = make([]gatewayv1.RouteParentStatus, 2) }},
		"external-dns gets a TTL":        {edit: func(r *gatewayv1.HTTPRoute) { annotate(r, "external-dns.alpha.kubernetes.io/ttl", "60") }},
	})
	t.Run("a timeout is added where none is desired", func(t *testing.T) {
		observed := served(t, "stopped-route", &gatewayv1.HTTPRoute{})
		rule(observed).Timeouts = &gatewayv1.HTTPRouteTimeouts{Request: new(gatewayv1.Duration("1s"))}
		if isUpToDate(t, intendedStoppedRoute(), observed, objects.ExactLists) {
			t.Error("it stays")
		}
	})
}
