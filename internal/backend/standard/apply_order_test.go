// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestOrderOfWrites compares the writes of a whole rollout in their order.
func TestOrderOfWrites(t *testing.T) {
	c := newCluster(t, testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true"), testkit.ReplicaBounds(1, 3))
	for _, step := range []struct {
		name    string
		inputs  string
		percent int64
		want    string
	}{
		{
			name: "first deployment", inputs: "a", percent: -1,
			want: `
				create ControllerRevision sklearn-iris-predictor-00001
				apply Service sklearn-iris-predictor-00001
				apply Deployment sklearn-iris-predictor-00001-deployment
				apply HorizontalPodAutoscaler sklearn-iris-predictor-00001
				apply HTTPRoute sklearn-iris
				apply HTTPRoute latest-sklearn-iris-predictor
				apply Service sklearn-iris-predictor
			`,
		},
		{
			name: "canary", inputs: "b", percent: 10,
			want: `
				create ControllerRevision sklearn-iris-predictor-00002
				apply Service sklearn-iris-predictor-00002
				apply Deployment sklearn-iris-predictor-00002-deployment
				apply HorizontalPodAutoscaler sklearn-iris-predictor-00002
				apply HTTPRoute sklearn-iris
				apply HTTPRoute sklearn-iris
				apply HTTPRoute latest-sklearn-iris-predictor
				apply HTTPRoute prev-sklearn-iris-predictor
			`,
		},
		{
			name: "more of it", inputs: "b", percent: 50,
			want: `
				apply HTTPRoute sklearn-iris
			`,
		},
		{
			name: "promotion", inputs: "b", percent: -1,
			want: `
				apply HTTPRoute sklearn-iris
				delete HTTPRoute prev-sklearn-iris-predictor
				apply Service sklearn-iris-predictor
				apply Deployment sklearn-iris-predictor-00001-deployment
				delete HorizontalPodAutoscaler sklearn-iris-predictor-00001
				apply Deployment sklearn-iris-predictor-00001-deployment
				delete Deployment sklearn-iris-predictor-00001-deployment
				delete Service sklearn-iris-predictor-00001
			`,
		},
		{
			name: "rollback", inputs: "b", percent: 0,
			want: `
				apply Service sklearn-iris-predictor-00001
				apply Deployment sklearn-iris-predictor-00001-deployment
				apply HorizontalPodAutoscaler sklearn-iris-predictor-00001
				apply HTTPRoute sklearn-iris
				apply HTTPRoute sklearn-iris
				apply HTTPRoute prev-sklearn-iris-predictor
				apply Service sklearn-iris-predictor
			`,
		},
		{
			name: "another canary", inputs: "c", percent: 20,
			want: `
				create ControllerRevision sklearn-iris-predictor-00003
				apply Service sklearn-iris-predictor-00003
				apply Deployment sklearn-iris-predictor-00003-deployment
				apply HorizontalPodAutoscaler sklearn-iris-predictor-00003
				apply HTTPRoute sklearn-iris
				apply HTTPRoute latest-sklearn-iris-predictor
				delete HTTPRoute prev-sklearn-iris-predictor
				apply HTTPRoute sklearn-iris
				apply HTTPRoute latest-sklearn-iris-predictor
				apply HTTPRoute prev-sklearn-iris-predictor
				apply Deployment sklearn-iris-predictor-00002-deployment
				delete HorizontalPodAutoscaler sklearn-iris-predictor-00002
				apply Deployment sklearn-iris-predictor-00002-deployment
				delete Deployment sklearn-iris-predictor-00002-deployment
				delete Service sklearn-iris-predictor-00002
			`,
		},
	} {
		got := formatWrites(c.rollOut(step.inputs, step.percent))
		if diff := cmp.Diff(outdented(step.want), got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func outdented(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines.WriteString(line + "\n")
		}
	}
	return lines.String()
}
