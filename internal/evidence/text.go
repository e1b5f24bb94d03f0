// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/policy"
)

// Sentence returns the evidence for a verdict in one line: that of the metric that shows harm, or of
// all metrics that prove the opposite. It is empty without a verdict.
func (v Verdict) Sentence() string {
	var proven []string
	for _, m := range v.Metrics {
		switch {
		case m.DryRun:
		case m.Evidence.Harmful:
			return m.Sentence()
		case m.Evidence.Proven:
			proven = append(proven, m.Sentence())
		}
	}
	if v.Harm || v.ProvenAt.IsZero() {
		return ""
	}
	return strings.Join(proven, "; ")
}

// Sentence returns the evidence of one metric, such as "errors: 14 of 1,259 (1.1 %) against 9 of
// 11,302 (0.08 %): 14 times the stable's rate, at least 4.1 times; allowed 1.5 times".
func (m Metric) Sentence() string {
	switch {
	case m.LeftOut:
		return "left out: " + m.Missing.Message
	case m.Missing.Reason != "" && !m.Evidence.Harmful:
		return m.Missing.Message
	case m.Kind == policy.Query:
		return m.querySentence()
	}
	e := m.Evidence
	text := fmt.Sprintf("%s: %s", m.Name, countText(e.Canary))
	if m.SlowerThan > 0 {
		text += " slower than " + m.SlowerThan.String()
	}
	if m.isCeiling() {
		return fmt.Sprintf("%s; allowed %s", text, limit(*m.Harm.Max))
	}
	text += " against " + countText(e.Stable)
	if m.Baking {
		text += " before the promotion"
	}
	if ratio := m.ratioText(); ratio != "" {
		text += ": " + ratio
	}
	return text + "; allowed " + m.allowed()
}

// isProof reports whether the evidence is for the canary.
func (m Metric) isProof() bool { return m.Evidence.Proven && !m.Evidence.Harmful }

// isCeiling reports whether only the absolute limit counts.
func (m Metric) isCeiling() bool {
	e := m.Evidence
	return m.Harm.Max != nil && !m.isProof() && (m.Harm.MaxRatio == 0 || e.Ceiling >= e.HarmNeeded && e.Harm < e.HarmNeeded)
}

func (m Metric) ratioText() string {
	e := m.Evidence
	var parts []string
	switch {
	case math.IsNaN(e.Ratio) || e.Stable.Requests == 0:
	case math.IsInf(e.Ratio, 1):
		parts = append(parts, "the stable had none")
	default:
		times := round(e.Ratio, math.Round) + " times "
		parts = append(parts, strings.TrimPrefix(times, "1 times ")+"the stable's rate")
	}
	switch {
	case e.Harmful && e.Lower > 0:
		parts = append(parts, "at least "+round(e.Lower*(1+1e-6), math.Floor)+" times")
	case m.isProof() && !math.IsInf(e.Upper, 1):
		parts = append(parts, "at most "+round(e.Upper*(1-1e-6), math.Ceil)+" times")
	}
	return strings.Join(parts, ", ")
}

// allowed returns the limits of the verdict. The floor is one of them if it allows more, or if the
// ratio alone does not decide.
func (m Metric) allowed() string {
	e, ratio, floor := m.Evidence, m.Harm.MaxRatio, m.Harm.Floor
	if m.isProof() {
		ratio, floor = m.Proof.MaxRatio, m.Proof.Floor
	}
	text := plain(ratio) + " times"
	if rate := e.Stable.Bad / max(1, e.Stable.Requests); floor > ratio*rate || m.isProof() && floor > 0 && math.IsInf(e.Upper, 1) {
		text += " or " + limit(floor)
	}
	return text
}

func (m Metric) querySentence() string {
	comparison := "not above"
	if m.Value > *m.Harm.Max {
		comparison = "above"
	}
	text := fmt.Sprintf("%s: %s is %s %s", m.Name, plain(m.Value), comparison, plain(*m.Harm.Max))
	if m.Evidence.Harmful {
		text = fmt.Sprintf("%s: above %s at three looks in a row, the last value is %s", m.Name, plain(*m.Harm.Max), plain(m.Value))
	}
	return text
}

func countText(c analysis.Counts) string {
	text := fmt.Sprintf("%s of %s", plain(math.Round(c.Bad)), plain(math.Round(c.Requests)))
	if c.Requests > 0 {
		text += fmt.Sprintf(" (%s)", percent(c.Bad/c.Requests))
	}
	return text
}

// limit returns a rate of the policy in percent.
func limit(rate float64) string { return plain(math.Round(rate*1e10)/1e8) + " %" }

// percent returns a rate in percent, rounded. Only a rate of 1 is 100 %.
func percent(rate float64) string {
	if p := 100 * rate; p >= 99.5 && p < 99.95 {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	} else if p >= 99.95 && p < 100 {
		return "99.9 %"
	}
	return round(100*rate, math.Round) + " %"
}

// round returns a number with two significant digits.
func round(x float64, to func(float64) float64) string {
	if x == 0 || math.IsInf(x, 0) {
		return plain(x)
	}
	digits := 1 - math.Floor(math.Log10(math.Abs(x)))
	if digits < 0 {
		unit := math.Pow(10, -digits)
		return plain(to(x/unit) * unit)
	}
	unit := math.Pow(10, digits)
	return plain(to(x*unit) / unit)
}

// plain returns a number with commas between thousands.
func plain(x float64) string {
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(math.Abs(x), 'f', -1, 64), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if x < 0 {
		whole = "-" + whole
	}
	return whole
}
