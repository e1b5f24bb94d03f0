// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"strings"
	"testing"
)

func TestTheSameCauseReadsTheSame(t *testing.T) {
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
