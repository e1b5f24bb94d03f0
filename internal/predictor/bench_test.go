// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import "testing"

func BenchmarkResolve(b *testing.B) {
	isvc, runtimes := isvcFrom(b, irisPredictor), cluster(runtimeFrom(b, "sklearn", sklearnRuntime))
	b.ReportAllocs()
	for b.Loop() {
		resolve(b, isvc, runtimes)
	}
}

func BenchmarkRender(b *testing.B) {
	resolved := resolve(b, isvcFrom(b, irisPredictor), cluster(runtimeFrom(b, "sklearn", sklearnRuntime)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resolved.Render(Credentials{}); err != nil {
			b.Fatal(err)
		}
	}
}
