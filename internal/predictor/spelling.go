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

var (
	// operatorAnnotations have an effect only in the metadata of an InferenceService.
	operatorAnnotations = []string{
		v1beta1.AnnotationDeploymentMode,
		v1beta1.AnnotationEnableTagRouting,
		v1beta1.AnnotationStop,
		v1beta1.AnnotationDisableAutoUpdate,
		v1beta1.AnnotationAutoscalerClass,
		v1beta1.AnnotationMetrics,
		v1beta1.AnnotationTargetUtilizationPercentage,
	}
	// podAnnotations also have an effect in the predictor.
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

// keyByName maps normalized names to the keys that users misspell, and the percent to its field. It
// excludes the keys for the metrics port and path, whose names are too short and too common.
var keyByName = func() map[string]string {
	all := map[string]string{normalizedName("canaryTrafficPercent"): percentField}
	for _, key := range slices.Concat(operatorAnnotations, podAnnotations, visibilityLabels[:1]) {
		if key != annotationMetricsPort && key != annotationMetricsPath {
			all[normalizedName(key)] = key
		}
	}
	return all
}()

// kserveDomain matches the domains of KServe's keys and common mistakes for them.
var kserveDomain = regexp.MustCompile(`^(([a-z0-9-]+\.)?kserve\.(io|org|com)|serving\.kubeflow\.org)$`)

// inKServeDomain does not match internal.serving.kserve.io, which only KServe itself writes.
func inKServeDomain(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	return found && kserveDomain.MatchString(strings.ToLower(domain))
}

func normalizedName(key string) string {
	_, name, found := strings.Cut(key, "/")
	if !found {
		name = key
	}
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// correctKey returns the key that a misspelled label or annotation stands for, or percentField. It
// returns "" if the key is not a misspelling. The ValidatingAdmissionPolicy in config/admission has
// the same rules.
func correctKey(key string) string {
	name := normalizedName(key)
	if name == normalizedName("canaryTrafficPercent") {
		return percentField
	}
	if !inKServeDomain(key) || isKnown(key) {
		return ""
	}
	if correct := keyByName[name]; correct != "" {
		return correct
	}
	if strings.HasPrefix(name, "storageinitializer") {
		return "" // The keys for cpu, memory and uid are too similar.
	}
	for _, known := range sortedNames {
		if similar(name, known) {
			return keyByName[known]
		}
	}
	return ""
}

var sortedNames = func() []string {
	var all []string
	for name := range keyByName {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}()

// isKnown reports whether a key is KServe's, even if Serinus ignores it.
func isKnown(key string) bool {
	return slices.Contains(operatorAnnotations, key) || slices.Contains(podAnnotations, key) ||
		slices.Contains(visibilityLabels, key) || ineffectiveAnnotations[key] != "" || slices.Contains(kserveLabels, key)
}

// similar reports whether two names differ in at most a few adjacent characters.
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
