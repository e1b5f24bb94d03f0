// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
)

func TestGoogleWorkloadIdentityFederation(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(issueToken))
	defer issuer.Close()
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", federated(t, issuer.URL))
	_, getCredentials, err := googleClient(t.Context(), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	if err := getCredentials(t.Context()); err != nil {
		t.Errorf("no token: %v", err)
	}
}

func statusServer(t *testing.T, status int, body string) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server, &requests
}

func TestGoogleTokenErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   Kind
		words  string
	}{
		"the service is down":      {503, "", Unavailable, "check that the issuer"},
		"too many requests":        {429, "", Unavailable, "check that the issuer"},
		"the provider is unknown":  {400, `{"error": "invalid_target", "error_description": "no such provider"}`, Forbidden, "audience"},
		"the subject has expired":  {400, `{"error": "invalid_grant", "error_description": "The token is expired"}`, Forbidden, "The token is expired"},
		"the account is forbidden": {403, `{"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}`, Forbidden, "Permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, requests := statusServer(t, tc.status, tc.body)
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", federated(t, issuer.URL))
			source := openTest(t, "gs://models/iris", os.Getenv)
			wantKind(t, fetchInto(t, source, t.TempDir()), tc.kind, "gs://models/iris", "the credentials cannot be obtained", strconv.Itoa(tc.status), tc.words)
			want := 1
			if tc.kind == Unavailable {
				want = fastOptions().Attempts
			}
			if requests.Load() != int64(want) {
				t.Errorf("got %d requests, want %d", requests.Load(), want)
			}
		})
	}
}

func TestInvalidGoogleCredentials(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		kind    Kind
		words   string
	}{
		"not JSON":        {"-----BEGIN PRIVATE KEY-----", Invalid, "not valid JSON"},
		"base64 twice":    {base64.StdEncoding.EncodeToString([]byte(`{"type": "service_account"}`)), Invalid, "not valid JSON"},
		"no type":         {`{"private_key": "x"}`, Invalid, "no type"},
		"an unknown type": {`{"type": "password"}`, Invalid, "password"},
		"a broken key":    {`{"type": "service_account", "private_key": "x"}`, Invalid, "not a PEM key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials.json")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
			_, err := Open(t.Context(), "gs://models/iris", os.Getenv)
			wantKind(t, err, tc.kind, tc.words, "gcloud-application-credentials.json")
		})
	}
	t.Run("no file", func(t *testing.T) {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
		_, err := Open(t.Context(), "gs://models/iris", os.Getenv)
		wantKind(t, err, Forbidden, "cannot be read")
	})
	t.Run("credentials of gcloud", func(t *testing.T) {
		t.Setenv("HOME", t.TempDir())
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
		folder := filepath.Join(os.Getenv("HOME"), ".config", "gcloud")
		err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "application_default_credentials.json"), []byte("{"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), "gs://models/iris", os.Getenv)
		wantKind(t, err, Invalid, "cannot be used")
	})
}

type tokens func() (*oauth2.Token, error)

func (f tokens) Token() (*oauth2.Token, error) { return f() }

// A machine without a service account can read public buckets. An overloaded metadata server does
// not mean that there is no account.
func TestGoogleIsAnonymousOnlyWithoutAServiceAccount(t *testing.T) {
	for err, want := range map[error]bool{
		metadata.NotDefinedError("service-accounts/default/token"): true,
		&metadata.Error{Code: 503}:                                 false,
		errors.New("connection refused"):                           false,
	} {
		source := gcp.TokenSource(tokens(func() (*oauth2.Token, error) { return nil, fmt.Errorf("wrapped: %w", err) }))
		if got := hasNoAccount(source); got != want {
			t.Errorf("%v: hasNoAccount() = %v, want %v", err, got, want)
		}
	}
}

func awsEnvironment(t *testing.T, given map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
		"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, value := range given {
		t.Setenv(name, value)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// If the configured credentials cannot be retrieved, an anonymous request would fail with a
// misleading error.
func TestS3CredentialErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		status    int
		body      string
		kind      Kind
		words     string
		sourceEnv func(address string) map[string]string
	}{
		"STS is down":                               {status: 503, kind: Unavailable, words: "check that the issuer", sourceEnv: stsEnv(t)},
		"STS throttles":                             {status: 400, body: stsError("Throttling"), kind: Unavailable, words: "check that the issuer", sourceEnv: stsEnv(t)},
		"the role may not be assumed":               {status: 403, body: stsError("AccessDenied"), kind: Forbidden, words: "role", sourceEnv: stsEnv(t)},
		"the issuer is not registered":              {status: 400, body: stsError("InvalidIdentityToken"), kind: Forbidden, words: "identity provider", sourceEnv: stsEnv(t)},
		"the token has expired":                     {status: 400, body: stsError("ExpiredTokenException"), kind: Forbidden, words: "expired", sourceEnv: stsEnv(t)},
		"the pod identity agent is down":            {status: 503, kind: Unavailable, words: "check that the issuer", sourceEnv: podAgentEnv},
		"the pod identity agent has no credentials": {status: 404, kind: Forbidden, words: "credentials that are configured", sourceEnv: podAgentEnv},
		"the EC2 metadata server is down":           {status: 503, kind: Unavailable, words: "check that the issuer", sourceEnv: ec2Env},
		"the token file does not exist": {kind: Forbidden, words: "no such file", sourceEnv: func(address string) map[string]string {
			set := stsEnv(t)(address)
			set["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/not/there"
			return set
		}},
		"no role ARN": {kind: Forbidden, words: "role ARN", sourceEnv: func(address string) map[string]string {
			set := stsEnv(t)(address)
			set["AWS_ROLE_ARN"] = ""
			return set
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.WriteHeader(http.StatusForbidden)
			}))
			defer store.Close()
			issuer, _ := statusServer(t, max(tc.status, 200), tc.body)
			awsEnvironment(t, tc.sourceEnv(issuer.URL))
			t.Setenv("AWS_ENDPOINT_URL_S3", store.URL)
			source, err := Open(t.Context(), "s3://models/iris", os.Getenv)
			if err == nil {
				_, err = source.List(t.Context())
			}
			wantKind(t, err, tc.kind, "s3://models/iris", "the credentials cannot be obtained", tc.words)
			if IsRetryable(err) != (tc.kind == Unavailable) {
				t.Errorf("IsRetryable() = %v", IsRetryable(err))
			}
			if requests.Load() > 0 {
				t.Errorf("the bucket got %d requests", requests.Load())
			}
		})
	}
}

func stsError(code string) string {
	return `<ErrorResponse><Error><Type>Sender</Type><Code>` + code + `</Code><Message>no</Message></Error></ErrorResponse>`
}

func stsEnv(t *testing.T) func(string) map[string]string {
	t.Helper()
	token := file(t, "jwt")
	return func(address string) map[string]string {
		return map[string]string{
			"AWS_ROLE_ARN": "arn:aws:iam::1:role/models", "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ENDPOINT_URL_STS": address,
		}
	}
}

func podAgentEnv(address string) map[string]string {
	return map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}
}

func ec2Env(address string) map[string]string {
	return map[string]string{"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": address}
}

func TestS3IsAnonymousWithoutCredentials(t *testing.T) {
	machine, _ := statusServer(t, http.StatusNotFound, "")
	unauthorized, _ := statusServer(t, http.StatusUnauthorized, "") // The hop limit may exclude containers.
	for name, given := range map[string]map[string]string{
		"no metadata server":             {},
		"an instance without a role":     ec2Env(machine.URL),
		"a metadata server that rejects": ec2Env(unauthorized.URL),
		"anonymous access is configured": {"awsAnonymousCredential": "true", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"},
		"anonymous access, half a key":   {"awsAnonymousCredential": "true", "AWS_ACCESS_KEY_ID": "id"},
	} {
		t.Run(name, func(t *testing.T) {
			var signed atomic.Bool
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				signed.Store(r.Header.Get("Authorization") != "")
				w.WriteHeader(http.StatusForbidden)
			}))
			defer store.Close()
			awsEnvironment(t, given)
			t.Setenv("AWS_ENDPOINT_URL", store.URL)
			wantKind(t, fetchInto(t, openTest(t, "s3://models/iris", os.Getenv), t.TempDir()), Forbidden, "sent without credentials")
			if signed.Load() {
				t.Error("the request was signed")
			}
		})
	}
}

func TestInvalidCredentials(t *testing.T) {
	const azure = "https://account.blob.core.windows.net/models/iris"
	for name, tc := range map[string]struct {
		uri   string
		given map[string]string
		kind  Kind
		words string
	}{
		"an access key without its secret": {"s3://b/m", map[string]string{"AWS_ACCESS_KEY_ID": "id"}, Invalid, "AWS_SECRET_ACCESS_KEY is not"},
		"a secret without its access key":  {"s3://b/m", map[string]string{"AWS_SECRET_ACCESS_KEY": "key"}, Invalid, "AWS_ACCESS_KEY_ID is not"},
		"a line break after the key":       {"s3://b/m", map[string]string{"AWS_ACCESS_KEY_ID": "id\n", "AWS_SECRET_ACCESS_KEY": "key"}, Invalid, "AWS_ACCESS_KEY_ID has a space"},
		"a line break after the secret":    {"s3://b/m", map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key\n"}, Invalid, "AWS_SECRET_ACCESS_KEY has a space"},
		"a region with a space":            {"s3://b/m", map[string]string{"AWS_DEFAULT_REGION": "us-east-1 "}, Invalid, "AWS_DEFAULT_REGION has a space"},
		"an endpoint without a scheme":     {"s3://b/m", map[string]string{"AWS_ENDPOINT_URL": "minio:9000"}, Invalid, "is not an address"},
		"no bucket":                        {"s3:///m", nil, Invalid, "names no bucket"},
		"no bucket of Google":              {"gs:///m", nil, Invalid, "names no bucket"},
		"a key that is not in base64":      {azure, map[string]string{"AZURE_STORAGE_ACCESS_KEY": "%"}, Invalid, "not the key of a storage account"},
		"a password without its name":      {azure, map[string]string{"AZURE_CLIENT_SECRET": "x"}, Invalid, "AZURE_CLIENT_ID is not"},
		"a token that has expired": {
			azure, map[string]string{"AZURE_ACCESS_TOKEN": "x", "AZURE_ACCESS_EXPIRES_ON_SECONDS": "1700000000"}, Forbidden, "has expired",
		},
		"a token over HTTP":       {azure, map[string]string{"AZURE_ACCESS_TOKEN": "x", "AZURE_SERVICE_URL": "http://azurite:10000"}, Invalid, "not sent over http://"},
		"an invalid address":      {azure, map[string]string{"AZURE_SERVICE_URL": "azurite:10000"}, Invalid, "is not an address"},
		"two tokens of the Hub":   {"hf://o/m", map[string]string{"HF_TOKEN": "hf_a\nhf_b"}, Invalid, "HF_TOKEN has a space"},
		"a Hub without a scheme":  {"hf://o/m", map[string]string{"HF_ENDPOINT": "mirror:8080"}, Invalid, "HF_ENDPOINT"},
		"a header with two lines": {"https://example.com/m", map[string]string{"example.com-headers": `{"X-Api-Key": "a\nb"}`}, Invalid, "X-Api-Key"},
		"headers that are a list": {"https://example.com/m", map[string]string{"example.com-headers": `["a"]`}, Invalid, "the key headers of the secret"},
	} {
		t.Run(name, func(t *testing.T) {
			awsEnvironment(t, nil)
			_, err := Open(t.Context(), tc.uri, envOf(tc.given))
			wantKind(t, err, tc.kind, tc.words)
			if strings.Contains(err.Error(), "network") {
				t.Errorf("the error mentions the network: %v", err)
			}
		})
	}
}

func TestHubTokenWithTrailingLineBreak(t *testing.T) {
	content := map[string][]byte{"a": pattern(10)}
	server := fakeHub(t, "secret", content)
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		dir := t.TempDir()
		env := envOf(map[string]string{"HF_ENDPOINT": server.URL, name: "secret\n"})
		if err := fetchInto(t, openTest(t, "hf://org/model", env), dir); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, content)
	}
}

func TestHeadersVariableWithoutPort(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serveContent("a", pattern(10)).ServeHTTP(w, r)
	}))
	defer server.Close()
	env := envOf(map[string]string{"127.0.0.1-headers": `{"Authorization": "Bearer secret"}`})
	if err := fetchInto(t, openTest(t, server.URL+"/a", env), t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestAzureSharedAccessSignature(t *testing.T) {
	content := map[string][]byte{"iris/a": pattern(2*testRange + 1)}
	server := fakeAzure(t, content, func(r *http.Request) bool {
		return r.URL.Query().Get("sig") == "hunter2" && r.Header.Get("Authorization") == ""
	})
	env := envOf(map[string]string{"AZURE_SERVICE_URL": server.URL, "AZURE_STORAGE_ACCESS_KEY": "YQ=="})
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, "https://account.blob.core.windows.net/models/iris?sv=2022&sig=hunter2", env), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": content["iris/a"]})
	err := fetchInto(t, openTest(t, "https://account.blob.core.windows.net/models/iris?sv=2022&sig=hunter3", env), t.TempDir())
	wantKind(t, err, Forbidden, "AuthenticationFailed", "signature (SAS)")
	if strings.Contains(err.Error(), "hunter3") {
		t.Errorf("the error contains the signature: %v", err)
	}
	server.Close()
	err = fetchInto(t, openTest(t, "https://account.blob.core.windows.net/models/iris?sv=2022&sig=hunter2", env), t.TempDir())
	wantKind(t, err, Unreachable, "connection refused")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error contains the signature: %v", err)
	}
}

// KServe documents Amazon's S3 endpoint for roles, but it does not issue credentials.
func TestRoleCredentialsComeFromSTS(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint, own string
		isOwn         bool
	}{
		"Amazon's":              {endpoint: "https://s3.amazonaws.com", isOwn: true},
		"Amazon's, of a region": {endpoint: "https://s3.eu-west-1.amazonaws.com", isOwn: true},
		"an issuer is named":    {endpoint: "https://s3.amazonaws.com", own: "https://sts.example.com"},
		"MinIO's":               {endpoint: "https://minio:9000"},
		"none":                  {},
	} {
		t.Run(name, func(t *testing.T) {
			options := stscreds.WebIdentityRoleOptions{}
			setSTSClient(&options, "eu-west-1", envOf(map[string]string{"AWS_ENDPOINT_URL": tc.endpoint, "AWS_ENDPOINT_URL_STS": tc.own}))
			client, isOwn := options.Client.(*sts.Client)
			if isOwn != tc.isOwn {
				t.Fatalf("an STS client is set: %v, want %v", isOwn, tc.isOwn)
			}
			if isOwn && (aws.ToString(client.Options().BaseEndpoint) != "" || client.Options().Region != "eu-west-1") {
				t.Errorf("the STS client has the endpoint %q and the region %q", aws.ToString(client.Options().BaseEndpoint), client.Options().Region)
			}
		})
	}
}

func TestAzureTokenThatIsStillValid(t *testing.T) {
	a := azure{env: envOf(map[string]string{
		"AZURE_ACCESS_TOKEN": "x", "AZURE_ACCESS_EXPIRES_ON_SECONDS": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
	})}
	if credential, err := a.credential(); err != nil || credential != fixedToken("x") {
		t.Errorf("got %v, %v", credential, err)
	}
}
