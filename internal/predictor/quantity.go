// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"cmp"
	"fmt"
	"math/big"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	// maxExponent is the largest exponent of a quantity that the CRDs allow. A stored quantity can
	// be older than that rule. One such as 1e999999999 is small until it is used in a computation.
	maxExponent = 99
	// maxExpandedExponent is the largest exponent of a number that rational writes without one.
	maxExpandedExponent = 1000
)

func exponent(q resource.Quantity) int64 {
	return -int64(q.AsDec().Scale())
}

// compareQuantities is like Quantity.Cmp, but safe for very large exponents, where it is
// approximate.
func compareQuantities(a, b resource.Quantity) int {
	if max(exponent(a), exponent(b)) > maxExpandedExponent {
		return cmp.Compare(a.AsApproximateFloat64(), b.AsApproximateFloat64())
	}
	return a.Cmp(b)
}

// rational returns a quantity as a fraction in lowest terms, so that equal quantities have equal
// results. A number of more than a thousand digits is written with an exponent.
func rational(q resource.Quantity) string {
	decimal := q.AsDec()
	number, scale := decimal.UnscaledBig(), -int64(decimal.Scale())
	if number.Sign() == 0 {
		return "0"
	}
	if scale > maxExpandedExponent || scale < -maxExpandedExponent {
		// Numbers with such an exponent fit into 64 bits, so trimZeros is fast.
		number, scale = trimZeros(number, scale)
	}
	switch {
	case scale > maxExpandedExponent || scale < -maxExpandedExponent:
		return fmt.Sprintf("%se%d", number, scale)
	case scale < 0:
		return new(big.Rat).SetFrac(number, powerOfTen(-scale)).RatString()
	default:
		return new(big.Int).Mul(number, powerOfTen(scale)).String()
	}
}

func powerOfTen(n int64) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil)
}

func trimZeros(number *big.Int, scale int64) (*big.Int, int64) {
	ten := big.NewInt(10)
	for {
		quotient, rest := new(big.Int).QuoRem(number, ten, new(big.Int))
		if rest.Sign() != 0 {
			return number, scale
		}
		number, scale = quotient, scale+1
	}
}

// findOversized returns a problem for the first quantity within a value that is larger than the
// CRDs allow.
func findOversized(v reflect.Value, path string) *Problem {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return findOversized(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if problem := findOversized(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); problem != nil {
				return problem
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, key := range keys {
			if problem := findOversized(v.MapIndex(key), fmt.Sprintf("%s[%s]", path, key)); problem != nil {
				return problem
			}
		}
	case reflect.Struct:
		if quantity, ok := reflect.TypeAssert[resource.Quantity](v); ok {
			return checkQuantity(quantity, path)
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			if problem := findOversized(v.Field(i), fieldPath(path, field)); problem != nil {
				return problem
			}
		}
	default: // Other kinds cannot contain a quantity.
	}
	return nil
}

func checkQuantity(quantity resource.Quantity, path string) *Problem {
	if exponent(quantity) <= maxExponent {
		return nil
	}
	return &Problem{
		Field:   path,
		Value:   quantity.String(),
		Message: fmt.Sprintf("%s is too large; write a quantity such as 500m or 2Gi", quantity.String()),
	}
}
