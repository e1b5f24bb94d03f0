// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package seed contains the manifests and the expected output of the seed document, word for word.
// The document starts with a serving model, so it does not contain the manifest First.
package seed

import (
	"regexp"
	"strings"
)

// The manifests in the order of the document.
const (
	First = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model"
`
	Canary = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    canaryTrafficPercent: 10
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	Promotion = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	Rollback = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
spec:
  predictor:
    canaryTrafficPercent: 0
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
	Tags = `
apiVersion: "serving.kserve.io/v1beta1"
kind: "InferenceService"
metadata:
  name: "sklearn-iris"
  annotations:
    serving.kserve.io/enable-tag-routing: "true"
spec:
  predictor:
    canaryTrafficPercent: 10
    model:
      modelFormat:
        name: sklearn
      storageUri: "gs://kfserving-examples/models/sklearn/1.0/model-2"
`
)

// Request is the document's request to the revision with the tag latest.
const Request = `
curl -v \
  -H "Host: latest-sklearn-iris-predictor.kserve-test.example.com" \
  http://${INGRESS_HOST}:${INGRESS_PORT}/v1/models/sklearn-iris:predict \
  -d @./iris-input.json
`

// Input is the content of iris-input.json in KServe's first example, two flowers with four
// measurements each.
const Input = `{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}`

// The output of kubectl after each manifest.
const (
	FirstTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True           100                              sklearn-iris-predictor-00001   79s
`
	CanaryTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    90     10       sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   11m
`
	PromotionTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True           100                              sklearn-iris-predictor-00002   18m
`
	RollbackTable = `
NAME           URL                                           READY   PREV   LATEST   PREVROLLEDOUTREVISION          LATESTREADYREVISION            AGE
sklearn-iris   http://sklearn-iris.kserve-test.example.com   True    100    0        sklearn-iris-predictor-00001   sklearn-iris-predictor-00002   22m
`
	TagTraffic = `
traffic:
- latestRevision: true
  percent: 10
  revisionName: sklearn-iris-predictor-00003
  tag: latest
  url: http://latest-sklearn-iris-predictor.kserve-test.example.com
- latestRevision: false
  percent: 90
  revisionName: sklearn-iris-predictor-00001
  tag: prev
  url: http://prev-sklearn-iris-predictor.kserve-test.example.com
`
)

var age = regexp.MustCompile(`(?m)\S+$`)

// WithoutAge returns the table without its last column.
func WithoutAge(table string) string { return age.ReplaceAllString(strings.TrimSpace(table), "") }

// Unindented returns YAML with the indentation of status.components.predictor removed.
func Unindented(text string) string {
	return strings.ReplaceAll(text, "\n      ", "\n")
}
