// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
)

// columns maps the column names of kubectl get to the printed values of an InferenceService.
type columns map[string]string

const asTable = "application/json;as=Table;g=meta.k8s.io;v=v1"

// columnsOf requests an InferenceService as a table.
func columnsOf(ctx context.Context, key client.ObjectKey) (columns, error) {
	config := rest.CopyConfig(administrator)
	config.GroupVersion, config.APIPath = &v1beta1.GroupVersion, "/apis"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	answer, err := c.Get().Namespace(key.Namespace).Resource("inferenceservices").Name(key.Name).SetHeader("Accept", asTable).Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		return nil, err
	}
	if len(table.Rows) != 1 {
		return nil, fmt.Errorf("the API server prints %d rows for %s", len(table.Rows), key)
	}
	printed := columns{}
	for i, column := range table.ColumnDefinitions {
		printed[column.Name] = ""
		if cell := table.Rows[0].Cells[i]; cell != nil {
			printed[column.Name] = fmt.Sprint(cell)
		}
	}
	return printed, nil
}

// HaveColumns matches the columns READY, PREV, LATEST, PREVROLLEDOUTREVISION and
// LATESTREADYREVISION. An empty string stands for a blank column.
func HaveColumns(ready, prev, latest, prevRevision, latestRevision string) gomegatypes.GomegaMatcher {
	return WithTransform(func(printed columns) []string {
		return []string{
			printed["Ready"], printed["Prev"], printed["Latest"], printed["PrevRolledoutRevision"], printed["LatestReadyRevision"],
		}
	}, Equal([]string{ready, prev, latest, prevRevision, latestRevision}))
}

// HaveSplit matches the split of an HTTPRoute or a Knative Service, such as "2:10 1:90" with the
// newest revision first.
func HaveSplit(split string) gomegatypes.GomegaMatcher {
	return WithTransform(func(route client.Object) (string, error) {
		found, err := watchrecorder.SplitOf(iris, route)
		return found.String(), err
	}, Equal(split))
}

// HaveHosts matches the host names of an HTTPRoute, in order.
func HaveHosts(hosts ...string) gomegatypes.GomegaMatcher {
	return WithTransform(func(route *gatewayv1.HTTPRoute) []string {
		var found []string
		for _, host := range route.Spec.Hostnames {
			found = append(found, string(host))
		}
		return found
	}, Equal(hosts))
}

// HaveTags matches the tags in the status of a Knative Service, with the split of each.
func HaveTags(tags map[string]string) gomegatypes.GomegaMatcher {
	return WithTransform(func(service *servingv1.Service) map[string]string {
		found := map[string]string{}
		for _, target := range service.Status.Traffic {
			if target.Tag != "" {
				found[target.Tag] = strings.TrimLeft(strings.TrimPrefix(target.RevisionName, iris+"-predictor-"), "0") + ":100"
			}
		}
		return found
	}, Equal(tags))
}

// HaveRolloutState matches the stable and the previous revision in the rollout state of an
// HTTPRoute or a Knative Service: "S=2 V=1", or "S=1" without a previous revision.
func HaveRolloutState(want string) gomegatypes.GomegaMatcher {
	return WithTransform(func(route client.Object) (string, error) {
		found, err := watchrecorder.StateOf(route)
		state := fmt.Sprintf("S=%d", found.Stable)
		if found.Previous != 0 {
			state += fmt.Sprintf(" V=%d", found.Previous)
		}
		return state, err
	}, Equal(want))
}

// BeCondition matches the status, the reason and a part of the message of a condition.
func BeCondition(status metav1.ConditionStatus, reason, message string) gomegatypes.GomegaMatcher {
	return SatisfyAll(Not(BeNil()),
		HaveField("Status", status), HaveField("Reason", reason), HaveField("Message", ContainSubstring(message)))
}
