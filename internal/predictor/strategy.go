// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"regexp"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const strategyField = predictorField + ".deploymentStrategy"

var percentage = regexp.MustCompile(`^\d+%$`)

// StrategyProblem returns the reason why Kubernetes would reject a deploymentStrategy, or nil. The
// CRD has the same rules, but a stored object can be older, and its revisions must still start.
func StrategyProblem(strategy *appsv1.DeploymentStrategy) *Problem {
	if strategy == nil {
		return nil
	}
	problem := func(field, message string) *Problem {
		return &Problem{Field: strategyField + field, Message: message}
	}
	switch strategy.Type {
	case "", appsv1.RollingUpdateDeploymentStrategyType:
	case appsv1.RecreateDeploymentStrategyType:
		if strategy.RollingUpdate != nil {
			return problem(".rollingUpdate", "does not go with type Recreate: remove one of them")
		}
	default:
		return problem(".type", "write RollingUpdate or Recreate")
	}
	if strategy.RollingUpdate == nil {
		return nil
	}
	surge, isSurge := parseAmount(strategy.RollingUpdate.MaxSurge)
	unavailable, isUnavailable := parseAmount(strategy.RollingUpdate.MaxUnavailable)
	const number = "write a whole number without quotes, such as 0 or 1, or a percentage, such as 25%"
	switch {
	case !isSurge:
		return problem(".rollingUpdate.maxSurge", number)
	case !isUnavailable:
		return problem(".rollingUpdate.maxUnavailable", number)
	case strategy.RollingUpdate.MaxUnavailable != nil && strategy.RollingUpdate.MaxUnavailable.Type == intstr.String && unavailable > 100:
		return problem(".rollingUpdate.maxUnavailable", "write a percentage up to 100%")
	case surge == 0 && unavailable == 0:
		return problem(".rollingUpdate", "maxSurge and maxUnavailable are both 0, so that no pod could be replaced: raise one of them")
	}
	return nil
}

// parseAmount parses a number or a percentage. Nil means Kubernetes' default of 25%.
func parseAmount(value *intstr.IntOrString) (number int, ok bool) {
	switch {
	case value == nil:
		return 25, true
	case value.Type == intstr.Int:
		return int(value.IntVal), value.IntVal >= 0
	case !percentage.MatchString(value.StrVal):
		return 0, false
	}
	number, err := strconv.Atoi(strings.TrimSuffix(value.StrVal, "%"))
	return number, err == nil
}
