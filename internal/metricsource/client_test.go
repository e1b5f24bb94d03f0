// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"

	"github.com/serinus-io/serinus/internal/metricsource/prometheustest"
)

func newTestClient(t *testing.T, config Config) *Client {
	t.Helper()
	metrics, err := NewMetrics(prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if config.Timeout == 0 {
		config.Timeout = time.Minute
	}
	client, err := NewClient(config, clock.RealClock{}, metrics)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// serve starts a server that always gives the same response.
func serve(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func matrix(result string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":` + result + `}}`
}

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// second returns a Prometheus timestamp.
func second(offset int) string { return fmt.Sprint(noon.Unix() + int64(offset)) }

func status(f *Failure) Status {
	if f == nil {
		return Success
	}
	return f.Status
}

// Whatever is wrong with a response has a status and a message, and there is no result.
func TestResponses(t *testing.T) {
	one := `{"metric":{"a":"1"},"values":[[` + second(-15) + `,"3"],[` + second(0) + `,"5"]]}`
	two := `{"metric":{"a":"2"},"values":[[` + second(0) + `,"7"]]}`
	value := func(text string) string {
		return matrix(`[{"metric":{"a":"1"},"values":[[` + second(0) + `,"` + text + `"]]}]`)
	}
	for name, tt := range map[string]struct {
		code             int
		body             string
		samples, numbers Status
		message          string
	}{
		"complete":            {body: matrix("[" + one + "]"), samples: Success, numbers: Success},
		"two series":          {body: matrix("[" + one + "," + two + "]"), samples: Success, numbers: Invalid, message: "has 2 series"},
		"no series":           {body: matrix("[]"), samples: NoSeries, numbers: NoSeries, message: "has no series for x"},
		"series without data": {body: matrix(`null`), samples: Unavailable, numbers: Unavailable},
		"NaN":                 {body: value("NaN"), samples: Invalid, numbers: Invalid, message: "NaN"},
		"infinite":            {body: value("+Inf"), samples: Invalid, numbers: Invalid, message: "+Inf"},
		"negative":            {body: value("-1"), samples: Invalid, numbers: Success},
		"no number":           {body: value("x"), samples: Unavailable, numbers: Unavailable},
		"future": {
			body: matrix(`[{"metric":{},"values":[[` + second(60) + `,"1"]]}]`), samples: Invalid, numbers: Success,
		},
		"old": {
			body: matrix(`[{"metric":{},"values":[[` + second(-60) + `,"1"]]}]`), samples: Success, numbers: NoSeries,
		},
		"wrong order": {
			body:    matrix(`[{"metric":{},"values":[[` + second(0) + `,"1"],[` + second(-15) + `,"1"]]}]`),
			samples: Invalid, numbers: Success,
		},
		"native histogram": {
			body: matrix(`[{"metric":{},"histograms":[[` + second(0) + `,{"count":"1","sum":"1","buckets":[[0,"0","1","1"]]}]]}]`), samples: Invalid, numbers: Invalid,
			message: "native histogram",
		},
		"vector":   {body: `{"status":"success","data":{"resultType":"vector","result":[]}}`, samples: Invalid, numbers: Invalid},
		"no data":  {body: `{"status":"success","data":null}`, samples: Unavailable, numbers: Unavailable},
		"warnings": {body: strings.Replace(matrix("["+one+"]"), `{`, `{"warnings":["store 7 is down"],`, 1), samples: Unavailable, numbers: Unavailable, message: "may be incomplete: store 7 is down"},
		"infos":    {body: strings.Replace(matrix("["+one+"]"), `{`, `{"infos":["might not be a counter"],`, 1), samples: Success, numbers: Success},
		"cut JSON": {body: matrix("[" + one + "]")[:90], samples: Unavailable, numbers: Unavailable, message: "the response is no complete JSON"},
		"no JSON":  {body: "<html>log in</html>", samples: Unavailable, numbers: Unavailable, message: "the response is no complete JSON"},
		"empty":    {samples: Unavailable, numbers: Unavailable},
		"500":      {code: 500, body: "broken", samples: Unavailable, numbers: Unavailable, message: "server error: 500"},
		"503":      {code: 503, body: `{"status":"error","errorType":"unavailable","error":"starting"}`, samples: Unavailable, numbers: Unavailable},
		"401":      {code: 401, samples: Unavailable, numbers: Unavailable, message: "check the address and the credentials"},
		"404":      {code: 404, samples: Unavailable, numbers: Unavailable, message: "check the address and the credentials"},
		"redirect": {code: 302, samples: Unavailable, numbers: Unavailable},
		"bad query": {
			code: 400, body: `{"status":"error","errorType":"bad_data","error":"parse error"}`, samples: Invalid, numbers: Invalid, message: "parse error",
		},
		"too many samples": {
			code: 422, body: `{"status":"error","errorType":"execution","error":"too many samples"}`, samples: Invalid, numbers: Invalid,
		},
		"timeout of Prometheus": {
			code: 503, body: `{"status":"error","errorType":"timeout","error":"query timed out"}`, samples: Unavailable, numbers: Unavailable,
		},
		"too large": {body: matrix("[") + strings.Repeat(" ", maxResponseBytes), samples: Invalid, numbers: Invalid, message: "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, Config{Address: serve(t, max(tt.code, 200), tt.body)})
			series, failure := client.samples(t.Context(), "x", noon.Add(-time.Minute), noon)
			if status(failure) != tt.samples || (failure != nil && series != nil) {
				t.Errorf("samples: got %v, %+v; want %s", series, failure, tt.samples)
			}
			if failure != nil && !strings.Contains(failure.Message, tt.message) {
				t.Errorf("samples: got %q, want %q", failure.Message, tt.message)
			}
			numbers, failure := client.numbers(t.Context(), "x", noon, noon, 15*time.Second)
			if status(failure) != tt.numbers {
				t.Errorf("numbers: got %v, %+v; want %s", numbers, failure, tt.numbers)
			}
			if failure != nil && !strings.Contains(failure.Message, tt.message) {
				t.Errorf("numbers: got %q, want %q", failure.Message, tt.message)
			}
		})
	}
}

func TestNumbersLeaveOutInvalidTimes(t *testing.T) {
	body := matrix(`[{"metric":{"pod":"a"},"values":[[` + second(-45) + `,"1"],[` + second(-30) + `,"NaN"],[` + second(-15) + `,"2"]]},` +
		`{"metric":{"pod":"b"},"values":[[` + second(-15) + `,"3"],[` + second(0) + `,"4"]]}]`)
	client := newTestClient(t, Config{Address: serve(t, 200, body)})
	got, failure := client.numbers(t.Context(), "x", noon.Add(-45*time.Second), noon, 15*time.Second)
	want := []Sample{{Time: noon.Add(-45 * time.Second).UnixMilli(), Value: 1}, {Time: noon.UnixMilli(), Value: 4}}
	if diff := cmp.Diff(want, got); diff != "" || failure != nil {
		t.Errorf("got %+v; (-want +got):\n%s", failure, diff)
	}
}

func TestFaults(t *testing.T) {
	upstream := serve(t, 200, matrix(`[{"metric":{"a":"1"},"values":[[`+second(0)+`,"5"]]}]`))
	proxy, err := prometheustest.NewProxy(upstream)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	client := newTestClient(t, Config{Address: server.URL, Timeout: 100 * time.Millisecond})
	want := map[prometheustest.Fault]Status{
		prometheustest.Down: Unavailable, prometheustest.Late: Unavailable, prometheustest.Error500: Unavailable,
		prometheustest.NaN: Invalid, prometheustest.Empty: NoSeries, prometheustest.TwoSeries: Invalid, prometheustest.CutJSON: Unavailable,
	}
	for _, fault := range prometheustest.Faults {
		proxy.Set(fault)
		numbers, failure := client.numbers(t.Context(), "x", noon, noon, 15*time.Second)
		if status(failure) != want[fault] || len(numbers) != 0 {
			t.Errorf("%s: got %v, %+v; want %s", fault, numbers, failure, want[fault])
		}
		if fault == prometheustest.Late && !strings.Contains(failure.Message, "did not respond in time") {
			t.Errorf("got %q", failure.Message)
		}
	}
	proxy.Set(prometheustest.None)
	client.timeout = time.Minute
	if numbers, failure := client.numbers(t.Context(), "x", noon, noon, 15*time.Second); failure != nil || len(numbers) != 1 {
		t.Errorf("without a fault: got %v, %+v", numbers, failure)
	}
	for status, want := range map[Status]float64{Success: 1, Unavailable: 4, Invalid: 2, NoSeries: 1} {
		if got := testutil.ToFloat64(client.metrics.queries.WithLabelValues(string(status))); got != want {
			t.Errorf("%v queries have the result %s, want %v", got, status, want)
		}
	}
}

func TestTokenAndCA(t *testing.T) {
	var authorization string
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		authorization = request.Header.Get("Authorization")
		_, _ = w.Write([]byte(matrix("[]")))
	})
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := Config{Address: server.URL, BearerTokenFile: write("token", []byte("first\n")), CAFile: write("ca.crt", ca)}
	client := newTestClient(t, config)
	for _, token := range []string{"first", "second"} {
		write("token", []byte(token+"\n"))
		_, failure := client.vector(t.Context(), "x", noon)
		if status(failure) != Invalid || authorization != "Bearer "+token { // A matrix is no vector.
			t.Errorf("got %+v with %q, want the token %s", failure, authorization, token)
		}
	}

	if err := os.Remove(config.BearerTokenFile); err != nil {
		t.Fatal(err)
	}
	if _, failure := client.vector(t.Context(), "x", noon); status(failure) != Unavailable || !strings.Contains(failure.Message, "reading the bearer token") {
		t.Errorf("without the token: got %+v", failure)
	}
	write("token", []byte("third"))
	write("ca.crt", []byte("nonsense"))
	if _, failure := client.vector(t.Context(), "x", noon); status(failure) != Unavailable || !strings.Contains(failure.Message, "contains no certificate") {
		t.Errorf("with a broken CA: got %+v", failure)
	}
	write("ca.crt", ca)
	if _, failure := client.vector(t.Context(), "x", noon); status(failure) != Invalid {
		t.Errorf("with the CA again: got %+v", failure)
	}

	unknown := newTestClient(t, Config{Address: server.URL})
	if _, failure := unknown.vector(t.Context(), "x", noon); status(failure) != Unavailable {
		t.Errorf("without the CA: got %+v", failure)
	}
}

// A redirection must not send the token elsewhere.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirection was followed") }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	client := newTestClient(t, Config{Address: server.URL})
	if _, failure := client.vector(t.Context(), "x", noon); status(failure) != Unavailable {
		t.Errorf("got %+v", failure)
	}
}

func TestInvalidConfig(t *testing.T) {
	for want, config := range map[string]Config{
		"write a URL such as":            {Address: "prometheus:9090", Timeout: time.Second},
		"the timeout":                    {Address: "http://prometheus:9090"},
		"reading the CA of Prometheus":   {Address: "http://prometheus:9090", Timeout: time.Second, CAFile: "/does/not/exist"},
		"reading the bearer token for P": {Address: "http://prometheus:9090", Timeout: time.Second, BearerTokenFile: "/does/not/exist"},
	} {
		if _, err := NewClient(config, clock.RealClock{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
