// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"fmt"
	"strings"
	"testing"

	"knative.dev/pkg/kmeta"
)

func TestStableMessage(t *testing.T) {
	id, digest := strings.Repeat("0123456789abcdef", 4), "sha256:"+strings.Repeat("a1", 32)
	for message, want := range map[string]string{
		"": "",
		`pods "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z" is forbidden: exceeded quota: small, requested: limits.cpu=1,limits.memory=2Gi, used: limits.cpu=4,limits.memory=8Gi, limited: limits.cpu=4,limits.memory=8Gi`:                                          `pods "…" is forbidden: exceeded quota: small, requested: limits.cpu=1,limits.memory=2Gi, limited: limits.cpu=4,limits.memory=8Gi`,
		`applying Deployment "sklearn-iris-predictor-00002-deployment": deployments.apps "sklearn-iris-predictor-00002-deployment" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, used: count/deployments.apps=5, limited: count/deployments.apps=5`: `applying Deployment "sklearn-iris-predictor-00002-deployment": deployments.apps "sklearn-iris-predictor-00002-deployment" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, limited: count/deployments.apps=5`,
		`container has runAsNonRoot and image will run as root (pod: "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z_kserve-test(0b1f9a3c-52ab-4a07-8f0e-6a5d4ac3a1c2)", container: kserve-container)`:                                                                 `container has runAsNonRoot and image will run as root (pod: "…_kserve-test(…)", container: kserve-container)`,
		`the name is reserved for "` + id + `"`:                        `the name is reserved for "…"`,
		`image registry.example.com/iris@` + digest + ` is not signed`: `image registry.example.com/iris@` + digest + ` is not signed`,
		"two\n  lines": "two lines",
		`secret "my-predictor-deployment" not found`: `secret "my-predictor-deployment" not found`,
	} {
		if got := StableMessage(message); got != want {
			t.Errorf("of %q\nit makes %q\nwant     %q", message, got, want)
		}
	}
}

// Pod names are removed for any length of the InferenceService's name: the API server truncates
// long names, and Knative puts a hash into a long Deployment name.
func TestStableMessageForNamesOfAnyLength(t *testing.T) {
	for length := 1; length <= 53; length++ {
		isvc := strings.Repeat("sentiment-analysis-", 3)[:length-1] + "x"
		revision := RevisionName(isvc, 2)
		for mode, deployment := range map[string]string{
			"Standard": revision + "-deployment",
			"Knative":  kmeta.ChildName(revision, "-deployment"),
		} {
			t.Run(fmt.Sprintf("%d characters in %s mode", length, mode), func(t *testing.T) {
				say := func(pod string) string {
					return StableMessage(fmt.Sprintf(`pods %q is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=3, limited: cpu=3`, pod))
				}
				replicaSet := deployment + "-7d9c5b6f4c"
				generated := replicaSet + "-"
				generated = generated[:min(len(generated), keptLength)]
				want := `pods "…" is forbidden: exceeded quota: q, requested: cpu=1, limited: cpu=3`
				for _, pod := range []string{generated + "x2x9z", generated + "bcdfg", replicaSet + "-bcdfg"} {
					if got := say(pod); got != want {
						t.Errorf("got %s", got)
					}
				}
				// Names of other objects stay, because they say what to look at.
				for _, name := range []string{revision, deployment, kmeta.ChildName(revision, "-private")} {
					if got := StableMessage("see " + name); got != "see "+name {
						t.Errorf("got %s of %s", got, name)
					}
				}
			})
		}
	}
}

func TestStableMessageKeepsOtherNames(t *testing.T) {
	for _, name := range []string{strings.Repeat("a", 63), strings.Repeat("secret-", 9), strings.Repeat("0123456789abcdef", 3) + "-secret"} {
		if got := StableMessage("see " + name); got != "see "+name {
			t.Errorf("got %s of %s", got, name)
		}
	}
}
