// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

type request struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		APIVersion  string `json:"apiVersion"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject json.RawMessage  `json:"requestObject"`
	Received      metav1.MicroTime `json:"requestReceivedTimestamp"`
	Completed     metav1.MicroTime `json:"stageTimestamp"`
}

func (r *request) resource() string {
	if r.ObjectRef.Subresource != "" {
		return r.ObjectRef.Resource + "/" + r.ObjectRef.Subresource
	}
	return r.ObjectRef.Resource
}

// isLeaderElection reports whether the request concerns the operator's Lease, or is the event that
// names its holder.
func (r *request) isLeaderElection() bool {
	return r.ObjectRef.Resource == "leases" || r.ObjectRef.Resource == "events" && r.ObjectRef.Namespace == operatorNamespace
}

func (r *request) failed() bool { return r.ResponseStatus.Code >= http.StatusBadRequest }

// writes reports whether the request changes an object. The reviews of the metrics endpoint change
// no object. Leader election does not count.
func (r *request) writes() bool {
	switch r.ObjectRef.APIGroup {
	case "authentication.k8s.io", "authorization.k8s.io":
		return false
	}
	return !r.isLeaderElection() && slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// auditPolicy logs all requests of the operator, and the writes of the user and the bare client. In
// the replayed namespaces it logs the bodies of writes, so that the bare client can send the same.
// It logs those of the bare client too, so that both have the same overhead.
func auditPolicy(replayed []string) ([]byte, error) {
	writes := []string{"create", "update", "patch", "delete"}
	writers := []string{operatorUser, userOf(bareAccount)}
	return yaml.Marshal(map[string]any{
		"apiVersion": "audit.k8s.io/v1",
		"kind":       "Policy",
		"omitStages": []string{"RequestReceived", "ResponseStarted"},
		"rules": []map[string]any{
			{"level": "Request", "users": writers, "verbs": writes, "namespaces": replayed},
			{"level": "Metadata", "users": []string{operatorUser}},
			{"level": "Metadata", "users": []string{userOf(bareAccount), userOf(userAccount)}, "verbs": writes},
			{"level": "None"},
		},
	})
}

// auditLog reads the log while it is written. The API server responds to a request only after it is
// logged.
type auditLog struct {
	file   *os.File
	reader *bufio.Reader
	rest   []byte
}

func openAuditLog(path string) (*auditLog, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &auditLog{file: file, reader: bufio.NewReaderSize(file, 1<<20)}, nil
}

func (l *auditLog) next() ([]*request, error) {
	var found []*request
	for {
		line, err := l.reader.ReadBytes('\n')
		l.rest = append(l.rest, line...)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		entry := &request{}
		if err := json.Unmarshal(l.rest, entry); err != nil {
			return nil, fmt.Errorf("decoding the audit log: %w", err)
		}
		l.rest = l.rest[:0]
		found = append(found, entry)
	}
}

func byUser(requests []*request, user string) []*request {
	return filter(requests, func(r *request) bool { return r.User.Username == user })
}

func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, one := range all {
		if keep(one) {
			kept = append(kept, one)
		}
	}
	return kept
}

type requestKind struct{ resource, verb string }

// tally counts requests by resource and verb. It counts failed requests separately.
func tally(requests []*request) map[requestKind]int {
	counts := map[requestKind]int{}
	for _, r := range requests {
		verb := r.Verb
		if r.failed() {
			verb = fmt.Sprintf("%s → %d", r.Verb, r.ResponseStatus.Code)
		}
		counts[requestKind{r.resource(), verb}]++
	}
	return counts
}
