// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import "testing"

// BenchmarkResolve is what every look at an InferenceService costs.
func BenchmarkResolve(b *testing.B) {
	isvc, runtimes := isvcFrom(b, irisPredictor), cluster(runtimeFrom(b, "sklearn", sklearnRuntime))
	b.ReportAllocs()
	for b.Loop() {
		resolve(b, isvc, runtimes)
	}
}

// BenchmarkRender is what each new revision costs.
func BenchmarkRender(b *testing.B) {
	resolved := resolve(b, isvcFrom(b, irisPredictor), cluster(runtimeFrom(b, "sklearn", sklearnRuntime)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resolved.Render(Credentials{}); err != nil {
			b.Fatal(err)
		}
	}
}
