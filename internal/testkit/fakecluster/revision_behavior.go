// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

// RevisionBehavior describes what Knative does with a revision.
type RevisionBehavior struct {
	unresolved string
	givenUp    bool
	// The PodAutoscaler keeps its spec or its status.
	keepAutoscalerSpec, keepAutoscalerStatus bool
}

// Running makes Knative run the revision. It is the default behavior.
func Running() RevisionBehavior { return RevisionBehavior{} }

// Unresolved makes Knative fail to resolve the image of the revision. It creates no Deployment
// then.
func Unresolved(cause string) RevisionBehavior { return RevisionBehavior{unresolved: cause} }

// GivenUp makes Knative report the progress deadline as exceeded, and scale the revision to zero.
func GivenUp() RevisionBehavior { return RevisionBehavior{givenUp: true} }

// Uninformed keeps the spec of the PodAutoscaler: it does not learn whether a route names the
// revision.
func Uninformed() RevisionBehavior { return RevisionBehavior{keepAutoscalerSpec: true} }

// Inactive keeps the status of the PodAutoscaler: it has not acted on its spec yet.
func Inactive() RevisionBehavior { return RevisionBehavior{keepAutoscalerStatus: true} }
