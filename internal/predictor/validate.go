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

// Problem is one thing that is wrong with an InferenceService.
type Problem struct {
	// Field is its path.
	Field string
	// Value is what is written there.
	Value string
	// Message says what is wrong with it and what to write.
	Message string
}

func (p Problem) String() string {
	return p.Field + ": " + p.Message
}

// Validate finds what is wrong with an InferenceService by itself. It looks for
// what a schema cannot hold, the values of annotations above all, and once more
// for what the schema does hold: an object can be older than its schema. The
// deployment mode is not among them; it is the business of who runs the
// predictor.
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

func asError(problems []Problem) *Error {
	messages := []string{problems[0].Message}
	for _, problem := range problems[1:] {
		messages = append(messages, problem.String())
	}
	return invalid(problems[0].Field, "%s", strings.Join(messages, "; "))
}

// annotationRule says which values an annotation can have.
type annotationRule struct {
	key string
	// expected says what to write where accepts refuses a value.
	expected string
	accepts  func(string) bool
}

// annotationRules are in the order in which problems are reported.
var annotationRules = slices.Concat(operatorAnnotationRules, podAnnotationRules)

// operatorAnnotationRules are for those that the operator reads from the
// metadata of an InferenceService only.
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

// podAnnotationRules are for those that shape pods. They count in the metadata
// of an InferenceService and in its predictor.
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

// metadataProblems checks what the pods will have as labels and annotations.
// The API server knows these rules, but not that they hold for these fields.
func metadataProblems(predictor v1beta1.PredictorSpec) []Problem {
	path := field.NewPath("spec", "predictor")
	mistakes := append(
		metav1validation.ValidateLabels(predictor.Labels, path.Child("labels")),
		apivalidation.ValidateAnnotations(predictor.Annotations, path.Child("annotations"))...,
	)
	var problems []Problem
	for _, mistake := range mistakes {
		problems = append(problems, Problem{
			Field:   mistake.Field,
			Value:   fmt.Sprint(mistake.BadValue),
			Message: fmt.Sprintf("%q: pods cannot have it: %s", fmt.Sprint(mistake.BadValue), mistake.Detail),
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
	least, most := int64(1), int64(spec.MaxReplicas)
	if spec.MinReplicas != nil {
		least = int64(*spec.MinReplicas)
	}
	check("canaryTrafficPercent", spec.CanaryTrafficPercent, 0, 100,
		"write the share of the newest revision as 0 to 100, or remove it to promote that revision")
	check("minReplicas", &least, 0, math.MaxInt32, "write 0 or more")
	check("maxReplicas", &most, 0, math.MaxInt32, "write 0 or more")
	if most > 0 && spec.MinReplicas != nil {
		check("minReplicas", &least, math.MinInt32, most, fmt.Sprintf("is above maxReplicas (%d); lower the one or raise the other", most))
	}
	check("containerConcurrency", spec.ContainerConcurrency, 0, math.MaxInt64,
		"write how many requests one replica may handle at the same time, or 0 for no limit")
	check("timeout", spec.TimeoutSeconds, 0, math.MaxInt64, "write a number of seconds, or 0 for the gateway's own limit")
	return problems
}

// environmentProblems refuses PYTHONPATH as KServe does: with it, code out of a
// model's own storage would take the place of the server's.
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

// quantityProblems refuses what could not even be compared with another
// quantity.
func quantityProblems(predictor v1beta1.PredictorSpec) []Problem {
	if problem := excessive(reflect.ValueOf(predictor), predictorField); problem != nil {
		return []Problem{*problem}
	}
	return nil
}
