// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

type credentialRecorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
	hits int
}

func newCredentialRecorder(t *testing.T, serve http.HandlerFunc) *credentialRecorder {
	t.Helper()
	w := &credentialRecorder{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.hits++
		for _, name := range []string{"Authorization", "X-Api-Key", "X-Amz-Security-Token", "Referer"} {
			if value := r.Header.Get(name); value != "" {
				w.seen = append(w.seen, name+": "+value)
			}
		}
		w.mu.Unlock()
		serve(writer, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *credentialRecorder) wantNoCredentials(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) > 0 {
		t.Errorf("another server received %q", w.seen)
	}
}

func TestRedirectsKeepHeadersForTheSameOrigin(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to string
		via      []string
		kept     bool
	}{
		"same address":             {from: "https://models.example.com/a", to: "https://models.example.com/b", kept: true},
		"port of the scheme":       {from: "https://models.example.com/a", to: "https://models.example.com:443/b", kept: true},
		"host in capitals":         {from: "https://models.example.com/a", to: "https://Models.Example.com/b", kept: true},
		"to HTTP":                  {from: "https://models.example.com/a", to: "http://models.example.com/a"},
		"to HTTP, on 443":          {from: "https://models.example.com/a", to: "http://models.example.com:443/a"},
		"to HTTPS":                 {from: "http://models.example.com/a", to: "https://models.example.com/a"},
		"another port":             {from: "https://models.example.com/a", to: "https://models.example.com:8443/a"},
		"another host":             {from: "https://models.example.com/a", to: "https://cdn.example.net/a"},
		"a subdomain":              {from: "https://example.com/a", to: "https://evil.example.com/a"},
		"to another host and back": {from: "https://models.example.com/a", via: []string{"https://cdn.example.net/a"}, to: "https://models.example.com/b"},
		"two on the same host":     {from: "https://models.example.com/a", via: []string{"https://models.example.com/b"}, to: "https://models.example.com/c", kept: true},
		"an IPv6 address":          {from: "https://[::1]/a", to: "https://[::1]:443/b", kept: true},
		"another IPv6 address":     {from: "https://[::1]/a", to: "https://[::2]/a"},
		"to a URL with user info":  {from: "https://models.example.com/a", to: "https://user:pass@cdn.example.net/a"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(trust{})
			c.header.Set("Authorization", "Bearer secret")
			c.header.Set("X-Api-Key", "secret")
			var via []*http.Request
			for _, address := range append([]string{tc.from}, tc.via...) {
				via = append(via, request(t, address))
			}
			next := request(t, tc.to)
			next.Header.Set("Authorization", "Bearer secret") // http.Client copies it for the same host.
			next.Header.Set("X-Api-Key", "secret")
			next.Header.Set("Referer", tc.from)
			if err := c.checkRedirect(next, via); err != nil {
				t.Fatal(err)
			}
			for _, header := range []string{"Authorization", "X-Api-Key"} {
				if kept := next.Header.Get(header) != ""; kept != tc.kept {
					t.Errorf("%s is kept: %v, want %v", header, kept, tc.kept)
				}
			}
			if next.Header.Get("Referer") != "" {
				t.Error("the Referer header contains the original URL")
			}
		})
	}
}

func request(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRedirectToHTTPDropsToken(t *testing.T) {
	content := pattern(2*testRange + 1)
	inTheClear := newCredentialRecorder(t, serveContent("a", content).ServeHTTP)
	encrypted := httptest.NewTLSServer(http.RedirectHandler("http://models.example.com/a", http.StatusFound))
	defer encrypted.Close()
	source := openTest(t, "https://models.example.com/a", envOf(map[string]string{
		"models.example.com-headers": `{"Authorization": "Bearer secret"}`,
	}))
	site, _ := source.(*web)
	site.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { // One port cannot serve both schemes.
		server := inTheClear.Server
		if r.URL.Scheme == "https" {
			server = encrypted
		}
		to := r.Clone(r.Context())
		_, to.URL.Host, _ = strings.Cut(server.URL, "://")
		response, err := server.Client().Transport.RoundTrip(to)
		if response != nil {
			response.Request = r
		}
		return response, err
	})
	dir := t.TempDir()
	if err := fetchInto(t, source, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": content})
	inTheClear.wantNoCredentials(t)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHubTokenIsNotSentToCDN(t *testing.T) {
	content := pattern(3*testRange + 1)
	cdn := newCredentialRecorder(t, serveContent("", content).ServeHTTP)
	front := fakeHub(t, "secret", map[string][]byte{"weights.bin": content})
	files := front.Config.Handler
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/resolve/") && r.Header.Get("Authorization") == "Bearer secret" {
			http.Redirect(w, r, cdn.URL+"/blob?signature=x", http.StatusFound)
			return
		}
		files.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	env := envOf(map[string]string{"HF_ENDPOINT": front.URL, "HF_TOKEN": "secret"})
	if err := fetchInto(t, openTest(t, "hf://org/model", env), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"weights.bin": content})
	if cdn.hits == 0 {
		t.Fatal("the CDN got no requests")
	}
	cdn.wantNoCredentials(t)
}

func TestHubPagination(t *testing.T) {
	elsewhere := newCredentialRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"type":"file","path":"b","size":1,"oid":"y"}]`)
	})
	for name, tc := range map[string]struct {
		link  string
		files int
		kind  Kind
	}{
		"is on another server":  {link: elsewhere.URL + "/next", files: 2},
		"is relative":           {link: "/api/models/o/m/tree/abc?cursor=2", files: 2},
		"leads back":            {link: "/api/models/o/m/tree/abc?recursive=true", kind: Unavailable},
		"is no address":         {link: "file:///etc/passwd", kind: Unavailable},
		"is on the same server": {link: "SELF/api/models/o/m/tree/abc?cursor=2", files: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Authorization") != "Bearer hf_secret":
					w.WriteHeader(http.StatusUnauthorized)
				case strings.Contains(r.URL.Path, "/revision/"):
					_, _ = io.WriteString(w, `{"sha":"abc"}`)
				case r.URL.Query().Get("cursor") != "":
					_, _ = io.WriteString(w, `[{"type":"file","path":"b","size":1,"oid":"y"}]`)
				default:
					w.Header().Set("Link", "<"+strings.Replace(tc.link, "SELF", server.URL, 1)+`>; rel="next"`)
					_, _ = io.WriteString(w, `[{"type":"file","path":"a","size":1,"oid":"x"}]`)
				}
			}))
			defer server.Close()
			source := openTest(t, "hf://o/m", envOf(map[string]string{"HF_ENDPOINT": server.URL, "HF_TOKEN": "hf_secret"}))
			objects, err := source.List(t.Context())
			if tc.kind != "" {
				wantKind(t, err, tc.kind, "hf://o/m")
			} else if err != nil || len(objects) != tc.files {
				t.Errorf("got %d files, %v", len(objects), err)
			}
			elsewhere.wantNoCredentials(t)
		})
	}
}

func TestRedirectLoop(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}))
	defer server.Close()
	wantKind(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Redirected, "too many redirects")
}

func TestForbiddenAfterRedirect(t *testing.T) {
	elsewhere := newCredentialRecorder(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/a", http.StatusMovedPermanently))
	defer server.Close()
	env := envOf(map[string]string{strings.TrimPrefix(server.URL, "http://") + "-headers": `{"Authorization": "Bearer secret"}`})
	err := fetchInto(t, openTest(t, server.URL+"/a", env), t.TempDir())
	wantKind(t, err, Forbidden, "redirect to "+strings.TrimPrefix(elsewhere.URL, "http://"), "not sent to another scheme, host or port")
	elsewhere.wantNoCredentials(t)
}

// A signature is valid for one host, and a token would be sent to any host.
func TestObjectStoreRedirectsAreNotFollowed(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	for scheme, uri := range map[string]string{
		"s3": "s3://bucket/m", "gs": "gs://bucket/m", "azure": "https://account.blob.core.windows.net/models/m",
	} {
		for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			t.Run(fmt.Sprint(scheme, status), func(t *testing.T) {
				elsewhere := newCredentialRecorder(t, emptyBucket)
				server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/?secret", status))
				defer server.Close()
				for _, name := range []string{"AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST", "AZURE_SERVICE_URL"} {
					t.Setenv(name, server.URL)
				}
				err := fetchInto(t, openTest(t, uri, os.Getenv), t.TempDir())
				wantKind(t, err, Redirected, fmt.Sprint(status), "redirects to "+elsewhere.URL, "set the endpoint")
				if elsewhere.hits > 0 || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "network") {
					t.Errorf("the other server got %d requests: %v", elsewhere.hits, err)
				}
			})
		}
	}
}

func TestGoogleTokenIsNotSentAfterRedirect(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(issueToken))
	defer issuer.Close()
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", federated(t, issuer.URL))
	client, getCredentials, err := googleClient(t.Context(), os.Getenv)
	if err != nil || getCredentials == nil {
		t.Fatal(err)
	}
	elsewhere := newCredentialRecorder(t, emptyBucket)
	var token string
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	}))
	defer store.Close()
	response, err := client.Do(request(t, store.URL))
	if err == nil {
		_ = response.Body.Close()
	}
	if token != "Bearer t" || statusOf(err) != http.StatusFound || elsewhere.hits > 0 {
		t.Errorf("the store received %q, the error is %v, the other server got %d requests", token, err, elsewhere.hits)
	}
}

func issueToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": "t", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600,
	})
}

// federated returns the path of a credentials file for workload identity federation.
func federated(t *testing.T, tokenURL string) string {
	t.Helper()
	dir := t.TempDir()
	subject, credentials := filepath.Join(dir, "token"), filepath.Join(dir, "credentials.json")
	text := fmt.Sprintf(`{"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": %q, "credential_source": {"file": %q}}`, tokenURL, subject)
	for path, content := range map[string]string{subject: "subject", credentials: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return credentials
}
