// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// TestKeepRuntime keeps the runtime of an existing revision although another one is preferred.
func TestKeepRuntime(t *testing.T) {
	const serves, field = "supportedModelFormats: [{name: sklearn, autoSelect: true}]", "spec.predictor.model.modelFormat"
	ref := RuntimeRef{ClusterServingRuntimeKind, "existing"}
	existing := func(spec string) *v1alpha1.ClusterServingRuntime { return serving(t, "existing", spec) }
	preferred := []*v1alpha1.ServingRuntime{namespaced(serving(t, "other", serves)), namespaced(existing(serves))}
	for name, test := range map[string]struct {
		model       string
		existing    *v1alpha1.ClusterServingRuntime
		want        *Error
		unavailable bool
	}{
		"others are preferred":                 {model: "{modelFormat: {name: sklearn}}", existing: existing(serves)},
		"no longer has autoSelect":             {model: "{modelFormat: {name: sklearn}}", existing: existing("supportedModelFormats: [{name: sklearn}]")},
		"requested, another has the same name": {model: "{modelFormat: {name: sklearn}, runtime: existing}", existing: existing(serves)},
		"missing": {
			model: "{modelFormat: {name: sklearn}}", unavailable: true,
			want: &Error{Reason: v1beta1.NoSupportingRuntime, Field: field, Message: `ClusterServingRuntime "existing", which was picked for this model, does not exist any more; ` +
				"create it again, or name another in model.runtime, such as existing or other"},
		},
		"disabled": {
			model: "{modelFormat: {name: sklearn}}", existing: existing(serves + "\ndisabled: true"), unavailable: true,
			want: &Error{Reason: v1beta1.RuntimeDisabled, Field: field, Message: `ClusterServingRuntime "existing", which was picked for this model, is disabled; ` +
				"have it enabled, or name another in model.runtime"},
		},
		"no longer serves the format": {
			model: "{modelFormat: {name: sklearn}}", existing: existing("supportedModelFormats: [{name: xgboost}]"),
			want: &Error{Reason: v1beta1.NoSupportingRuntime, Field: field, Message: `ClusterServingRuntime "existing", which was picked for this model, does not serve sklearn, but xgboost; ` +
				"have the format added to it, or name another in model.runtime"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtimes := Runtimes{Namespaced: preferred}
			if test.existing != nil {
				runtimes.Cluster = []*v1alpha1.ClusterServingRuntime{test.existing}
			}
			resolved, err := Resolve(isvcFrom(t, "model: "+test.model), runtimes, defaultSettings())
			if err != nil {
				t.Fatal(err)
			}
			err = resolved.KeepRuntime(ref, runtimes)
			if test.want != nil {
				wantError(t, err, *test.want)
			} else if err != nil || resolved.Runtime != ref {
				t.Errorf("got runtime %v, error %v; want %v", resolved.Runtime, err, ref)
			}
			if resolved.RuntimeMissing != test.unavailable || (resolved.Hash == "") != (test.want != nil) {
				t.Errorf("got RuntimeMissing %t, Hash %q", resolved.RuntimeMissing, resolved.Hash)
			}
		})
	}
}

func TestReplaceDownload(t *testing.T) {
	secret := func(name string) Secret {
		return Secret{Name: name, Keys: []string{keyGCSCredentials}}
	}
	resolved, err := Resolve(isvcFrom(t, "model: {modelFormat: {name: sklearn}, storageUri: 'gs://models/iris'}"),
		cluster(serving(t, "a", "supportedModelFormats: [{name: sklearn, autoSelect: true}]")), defaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	credentials := func(secrets ...Secret) Credentials { return Credentials{ServiceAccountSecrets: secrets} }
	revision, err := resolved.Render(credentials(secret("old")))
	if err != nil {
		t.Fatal(err)
	}
	before := DownloadOf(&revision.Template)
	again, err := resolved.Download(&revision.Template, credentials(secret("old")))
	if err != nil || !again.SameCredentials(before) {
		t.Fatalf("the same credentials differ: %v, %v (%v)", before, again, err)
	}
	renewed, err := resolved.Download(&revision.Template, credentials(secret("new")))
	if err != nil || renewed.SameCredentials(before) {
		t.Fatalf("other credentials do not differ: %v (%v)", renewed, err)
	}
	revision.Template.Spec.Volumes = append(revision.Template.Spec.Volumes, corev1.Volume{Name: "mine"})
	renewed.ReplaceIn(&revision.Template)
	if got := DownloadOf(&revision.Template); !got.SameCredentials(renewed) || len(got.Secrets()) != 1 || got.Secrets()[0] != "new" {
		t.Errorf("after the replacement: got %v, want the new Secret", got)
	}
	rendered, err := resolved.Render(credentials(secret("new")))
	if err != nil || len(rendered.Template.Spec.Volumes)+1 != len(revision.Template.Spec.Volumes) {
		t.Errorf("got volumes %v, error %v", revision.Template.Spec.Volumes, err)
	}
	if used := SecretsUsed([]Secret{secret("new"), {Name: "pull", Keys: []string{".dockerconfigjson"}}}, defaultSettings().Credentials); len(used) != 1 {
		t.Errorf("got Secrets %v, want only the new one", used)
	}
}
