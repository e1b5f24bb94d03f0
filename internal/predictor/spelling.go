// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"regexp"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const percentField = predictorField + ".canaryTrafficPercent"

// operatorAnnotations count in the metadata of an InferenceService only, podAnnotations in its predictor too.
var (
	operatorAnnotations = []string{
		v1beta1.AnnotationDeploymentMode,
		v1beta1.AnnotationEnableTagRouting,
		v1beta1.AnnotationStop,
		v1beta1.AnnotationDisableAutoUpdate,
		v1beta1.AnnotationAutoscalerClass,
		v1beta1.AnnotationMetrics,
		v1beta1.AnnotationTargetUtilizationPercentage,
	}
	podAnnotations = []string{
		v1beta1.AnnotationEnablePrometheusScraping,
		v1beta1.AnnotationStorageSecretName,
		v1beta1.AnnotationStorageReadonly,
		v1beta1.AnnotationProgressDeadline,
		annotationStorageInitializerUID,
		annotationGKEAccelerator,
		annotationMetricsPort,
		annotationMetricsPath,
	}
	visibilityLabels = []string{v1beta1.LabelNetworkVisibility, v1beta1.LabelKnativeNetworkVisibility}
)

// spellings are the keys that another key can be a misspelling of, by their normalised names, and the field that the
// percent belongs in. The names of metrics port and path are too short and too common.
var spellings = func() map[string]string {
	all := map[string]string{normalName("canaryTrafficPercent"): percentField}
	for _, key := range slices.Concat(operatorAnnotations, podAnnotations, visibilityLabels[:1]) {
		if key != annotationMetricsPort && key != annotationMetricsPath {
			all[normalName(key)] = key
		}
	}
	return all
}()

// kserveDomain matches the domains of KServe's keys, and what users take for them.
var kserveDomain = regexp.MustCompile(`^(([a-z0-9-]+\.)?kserve\.(io|org|com)|serving\.kubeflow\.org)$`)

// inKServeDomain reports whether a label or annotation claims to be KServe's. Those of internal.serving.kserve.io, which
// KServe writes itself, are not among them.
func inKServeDomain(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	return found && kserveDomain.MatchString(strings.ToLower(domain))
}

// normalName is the name of a key without its domain, case and separators.
func normalName(key string) string {
	_, name, found := strings.Cut(key, "/")
	if !found {
		name = key
	}
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// rightSpelling returns what the author of a misspelt label or annotation meant: a key, or the field of the percent. It is
// empty for a key that is no misspelling. The ValidatingAdmissionPolicy in config/admission has the same rules.
func rightSpelling(key string) string {
	name := normalName(key)
	if name == normalName("canaryTrafficPercent") {
		return percentField
	}
	if !inKServeDomain(key) || isKnown(key) {
		return ""
	}
	if right := spellings[name]; right != "" {
		return right
	}
	if strings.HasPrefix(name, "storageinitializer") {
		return "" // Too close to each other: cpu, memory and uid.
	}
	for _, known := range spellingsInOrder {
		if similar(name, known) {
			return spellings[known]
		}
	}
	return ""
}

var spellingsInOrder = func() []string {
	var all []string
	for name := range spellings {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}()

// isKnown reports whether a key is KServe's own, whether Serinus acts on it or not.
func isKnown(key string) bool {
	return slices.Contains(operatorAnnotations, key) || slices.Contains(podAnnotations, key) ||
		slices.Contains(visibilityLabels, key) || withoutEffect[key] != "" || slices.Contains(kserveLabels, key)
}

// similar reports whether a few adjacent characters at most tell a name from a known one.
func similar(name, known string) bool {
	window := 3
	switch {
	case len(known) < 8:
		window = 1
	case len(known) < 12:
		window = 2
	}
	if difference := len(name) - len(known); difference > window || difference < -window {
		return false
	}
	for i := 0; i+window <= len(known); i++ {
		if strings.HasPrefix(name, known[:i]) && strings.HasSuffix(name, known[i+window:]) {
			return true
		}
	}
	return false
}
