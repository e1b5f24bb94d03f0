// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const isvcTable = `NAME   READY   PREV   LATEST   PREVROLLEDOUTREVISION   AGE
iris   True           100                              79s`

func TestTableDifferences(t *testing.T) {
	const pods = "NAME                                              READY   AGE\n" +
		"iris-predictor-00001-deployment-7965bcc66-grdbq   1/1     12m"
	for name, tc := range map[string]struct {
		given, output string
		want          []string
	}{
		"the same": {
			given:  isvcTable,
			output: isvcTable,
		},
		"other spacing and age": {
			given:  isvcTable,
			output: "NAME      READY   PREV   LATEST   PREVROLLEDOUTREVISION          AGE\niris      True           100                                     3s\n",
		},
		"a value in an empty column": {
			given:  isvcTable,
			output: "NAME   READY   PREV   LATEST   PREVROLLEDOUTREVISION   AGE\niris   True    0      100                              3s",
			want:   []string{`row 1, PREV: "0", want ""`},
		},
		"a value in the column beside": {
			given:  isvcTable,
			output: "NAME   READY   PREV   LATEST   PREVROLLEDOUTREVISION   AGE\niris   True    100                                     3s",
			want:   []string{`row 1, PREV: "100", want ""`, `row 1, LATEST: "", want "100"`},
		},
		"another column": {
			given:  "NAME   READY\niris   True",
			output: "NAME   PHASE\niris   True",
			want:   []string{`the columns are ["NAME" "PHASE"], want ["NAME" "READY"]`},
		},
		"a row too few": {
			given:  isvcTable,
			output: "NAME   READY   PREV   LATEST   PREVROLLEDOUTREVISION   AGE",
			want:   []string{"there are 0 rows, want 1"},
		},
		"no table": {
			given:  isvcTable,
			output: "",
			want:   []string{`the columns are [], want ["NAME" "READY" "PREV" "LATEST" "PREVROLLEDOUTREVISION" "AGE"]`},
		},
		"other generated names": {
			given:  pods,
			output: "NAME                                               READY   AGE\niris-predictor-00001-deployment-6744dbbd8c-wfghv   1/1     2s",
		},
		"a pod of another revision": {
			given:  pods,
			output: "NAME                                              READY   AGE\niris-predictor-00002-deployment-7965bcc66-grdbq   1/1     2s",
			want:   []string{`row 1, NAME: "iris-predictor-00002-deployment-…", want "iris-predictor-00001-deployment-…"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tableDifferences(tc.given, tc.output)); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}
