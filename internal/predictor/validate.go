// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Problem describes an invalid field of an InferenceService.
type Problem struct {
	Field string
	Value string
	// Message describes the problem and how to fix it.
	Message string
}

func (p Problem) String() string {
	return p.Field + ": " + p.Message
}

// Validate returns the problems of an InferenceService that do not depend on other objects. It also
// repeats the rules of the schema, because a stored object can be older than the schema. It does
// not validate the deployment mode.
func Validate(isvc *v1beta1.InferenceService) []Problem {
	return slices.Concat(
		unsupportedProblems(isvc.Spec),
		annotationProblems("metadata.annotations", isvc.Annotations, annotationRules),
		annotationProblems(predictorField+".annotations", isvc.Spec.Predictor.Annotations, podAnnotationRules),
		metadataProblems(isvc.Spec.Predictor),
		numberProblems(isvc.Spec.Predictor.ComponentExtensionSpec),
		environmentProblems(isvc.Spec.Predictor),
		quantityProblems(isvc.Spec.Predictor),
	)
}

func unsupportedProblems(spec v1beta1.InferenceServiceSpec) []Problem {
	var problems []Problem
	for _, field := range spec.UnsupportedFields() {
		problems = append(problems, Problem{Field: field, Message: "is not supported; remove it"})
	}
	return problems
}

func errorFromProblems(problems []Problem) *Error {
	messages := []string{problems[0].Message}
	for _, problem := range problems[1:] {
		messages = append(messages, problem.String())
	}
	return invalid(problems[0].Field, "%s", strings.Join(messages, "; "))
}

type annotationRule struct {
	key string
	// expected describes a valid value, for messages.
	expected string
	accepts  func(string) bool
}

// annotationRules is in the order in which problems are reported.
var annotationRules = slices.Concat(operatorAnnotationRules, podAnnotationRules)

// operatorAnnotationRules apply only to the metadata of an InferenceService.
var operatorAnnotationRules = []annotationRule{
	{v1beta1.AnnotationEnableTagRouting, trueOrFalse, isTrueOrFalse},
	{v1beta1.AnnotationStop, trueOrFalse, isTrueOrFalse},
	{v1beta1.AnnotationDisableAutoUpdate, trueOrFalse, isTrueOrFalse},
	{
		v1beta1.AnnotationAutoscalerClass,
		"write hpa, external or none; keda is not supported",
		oneOf(string(v1beta1.AutoscalerClassHPA), string(v1beta1.AutoscalerClassExternal), string(v1beta1.AutoscalerClassNone)),
	},
	{
		v1beta1.AnnotationMetrics,
		"write cpu, memory, concurrency or rps, or use spec.predictor.scaleMetric instead",
		oneOf(string(v1beta1.MetricCPU), string(v1beta1.MetricMemory), string(v1beta1.MetricConcurrency), string(v1beta1.MetricRPS)),
	},
	{
		v1beta1.AnnotationTargetUtilizationPercentage,
		"write a whole number from 1 to 100, or use spec.predictor.scaleTarget instead",
		isIntegerIn(1, 100),
	},
}

// podAnnotationRules also apply to the predictor.
var podAnnotationRules = []annotationRule{
	{v1beta1.AnnotationEnablePrometheusScraping, trueOrFalse, isTrueOrFalse},
	{v1beta1.AnnotationStorageReadonly, trueOrFalse, isTrueOrFalse},
	{v1beta1.AnnotationStorageSecretName, "write the name of a secret", isSecretName},
	{annotationStorageInitializerUID, "write the number of a user", isIntegerIn(0, maxUID)},
	{v1beta1.AnnotationProgressDeadline, "write a duration of at least a second, such as 20m", isDuration},
}

const (
	trueOrFalse = `write "true" or "false"`
	maxUID      = 1<<31 - 1
)

func isTrueOrFalse(value string) bool {
	return value == "true" || value == "false"
}

func oneOf(values ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(values, value) }
}

func isIntegerIn(lowest, highest int64) func(string) bool {
	return func(value string) bool {
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= lowest && n <= highest
	}
}

func isDuration(value string) bool {
	duration, err := time.ParseDuration(value)
	return err == nil && duration >= time.Second && duration <= math.MaxInt32*time.Second
}

func isSecretName(value string) bool {
	return len(validation.IsDNS1123Subdomain(value)) == 0
}

func annotationProblems(path string, annotations map[string]string, rules []annotationRule) []Problem {
	var problems []Problem
	for _, rule := range rules {
		if value, set := annotations[rule.key]; set && !rule.accepts(value) {
			problems = append(problems, Problem{
				Field:   fmt.Sprintf("%s[%s]", path, rule.key),
				Value:   value,
				Message: fmt.Sprintf("%q: %s", value, rule.expected),
			})
		}
	}
	return problems
}

// metadataProblems validates the predictor's labels and annotations. The API server does not,
// because they are not in an object's metadata.
func metadataProblems(predictor v1beta1.PredictorSpec) []Problem {
	path := field.NewPath("spec", "predictor")
	errs := append(
		metav1validation.ValidateLabels(predictor.Labels, path.Child("labels")),
		apivalidation.ValidateAnnotations(predictor.Annotations, path.Child("annotations"))...,
	)
	var problems []Problem
	for _, err := range errs {
		problems = append(problems, Problem{
			Field:   err.Field,
			Value:   fmt.Sprint(err.BadValue),
			Message: fmt.Sprintf("%q: pods cannot have it: %s", fmt.Sprint(err.BadValue), err.Detail),
		})
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return problems
}

func numberProblems(spec v1beta1.ComponentExtensionSpec) []Problem {
	var problems []Problem
	check := func(name string, value *int64, lowest, highest int64, expected string) {
		if value == nil || *value >= lowest && *value <= highest {
			return
		}
		problems = append(problems, Problem{
			Field:   predictorField + "." + name,
			Value:   strconv.FormatInt(*value, 10),
			Message: fmt.Sprintf("%d: %s", *value, expected),
		})
	}
	minReplicas, maxReplicas := int64(1), int64(spec.MaxReplicas)
	if spec.MinReplicas != nil {
		minReplicas = int64(*spec.MinReplicas)
	}
	check("canaryTrafficPercent", spec.CanaryTrafficPercent, 0, 100,
		"write the share of the newest revision as 0 to 100, or remove it to promote that revision")
	check("minReplicas", &minReplicas, 0, math.MaxInt32, "write 0 or more")
	check("maxReplicas", &maxReplicas, 0, math.MaxInt32, "write 0 or more")
	if maxReplicas > 0 && spec.MinReplicas != nil {
		check("minReplicas", &minReplicas, math.MinInt32, maxReplicas,
			fmt.Sprintf("is above maxReplicas (%d); lower the one or raise the other", maxReplicas))
	}
	check("containerConcurrency", spec.ContainerConcurrency, 0, math.MaxInt64,
		"write how many requests one replica may handle at the same time, or 0 for no limit")
	check("timeout", spec.TimeoutSeconds, 0, math.MaxInt64, "write a number of seconds, or 0 for the gateway's own limit")
	return problems
}

// environmentProblems rejects PYTHONPATH, as KServe does: it would let files in the model's storage
// replace the server's own code.
func environmentProblems(predictor v1beta1.PredictorSpec) []Problem {
	var problems []Problem
	check := func(path string, env []corev1.EnvVar) {
		for _, variable := range env {
			if variable.Name == "PYTHONPATH" {
				problems = append(problems, Problem{
					Field:   path + ".env[PYTHONPATH]",
					Value:   variable.Value,
					Message: "remove it; it would let files beside the model take the place of the server's own code",
				})
			}
		}
	}
	if predictor.Model != nil {
		check(modelField, predictor.Model.Env)
	}
	for _, legacy := range frameworks(&predictor) {
		check(predictorField+"."+legacy.field, legacy.model.Env)
	}
	for _, container := range predictor.Containers {
		check(fmt.Sprintf("%s.containers[%s]", predictorField, container.Name), container.Env)
	}
	return problems
}

func quantityProblems(predictor v1beta1.PredictorSpec) []Problem {
	if problem := findOversized(reflect.ValueOf(predictor), predictorField); problem != nil {
		return []Problem{*problem}
	}
	return nil
}
