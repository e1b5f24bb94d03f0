// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func errorServer(t *testing.T, status int, header map[string]string, body string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server
}

// wantMessage checks an error message. None of these errors is caused by the network.
func wantMessage(t *testing.T, err error, kind Kind, words ...string) {
	t.Helper()
	wantKind(t, err, kind, words...)
	for _, wrong := range []string{"network polic", "DNS", "\n", "RequestID", "hunter2"} {
		if strings.Contains(err.Error(), wrong) {
			t.Errorf("the error contains %q: %v", wrong, err)
		}
	}
	const longest = 600 // Conditions allow 1,024 characters, including their own text.
	if len(err.Error()) > longest {
		t.Errorf("the error has %d characters: %v", len(err.Error()), err)
	}
}

func TestS3ErrorResponses(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		kind   Kind
		words  string
	}{
		{301, "PermanentRedirect", Redirected, "s3-region"},
		{307, "TemporaryRedirect", Redirected, "s3-region"},
		{400, "AuthorizationHeaderMalformed", Invalid, "s3-region"},
		{400, "IllegalLocationConstraintException", Invalid, "s3-region"},
		{400, "ExpiredToken", Forbidden, "expired"},
		{400, "InvalidToken", Forbidden, "AWS_SESSION_TOKEN"},
		{400, "InvalidBucketName", Invalid, "bucket"},
		{400, "RequestTimeout", Unavailable, "retried"},
		{400, "InvalidRequest", Invalid, "the store refuses the request"},
		{403, "AccessDenied", Forbidden, "s3:GetObject"},
		{403, "InvalidAccessKeyId", Forbidden, "AWS_ACCESS_KEY_ID"},
		{403, "SignatureDoesNotMatch", Forbidden, "AWS_SECRET_ACCESS_KEY"},
		{403, "RequestTimeTooSkewed", Forbidden, "clock"},
		{403, "AccountProblem", Forbidden, "disabled"},
		{403, "InvalidObjectState", Invalid, "archived"},
		{403, "SomethingNew", Forbidden, "check the credentials"},
		{404, "NoSuchBucket", Missing, "check the bucket"},
		{404, "NoSuchKey", Missing, "storageUri"},
		{429, "TooManyRequests", Unavailable, "limits"},
		{500, "InternalError", Unavailable, "retried"},
		{503, "SlowDown", Unavailable, "limits"},
		{503, "ServiceUnavailable", Unavailable, "retried"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			server := errorServer(t, tc.status, nil, fmt.Sprintf(`<Error><Code>%s</Code><Message>as it happens</Message></Error>`, tc.code))
			awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})
			err := fetchInto(t, openTest(t, "s3://bucket/m", os.Getenv), t.TempDir())
			wantMessage(t, err, tc.kind, "s3://bucket/m: ", strconv.Itoa(tc.status), "as it happens", tc.words)
		})
	}
}

func TestGoogleErrorResponses(t *testing.T) {
	for name, tc := range map[string]struct {
		status          int
		reason, message string
		kind            Kind
		words           string
	}{
		"without credentials":    {401, "required", "Anonymous caller does not have storage.objects.list access", Forbidden, "sent without credentials"},
		"forbidden":              {403, "forbidden", "no access", Forbidden, "sent without credentials"},
		"project disabled":       {403, "accountDisabled", "The account has been disabled", Forbidden, "sent without credentials"},
		"too often":              {403, "rateLimitExceeded", "Rate limit exceeded", Unavailable, "limits"},
		"too often, by status":   {429, "tooMany", "not so fast", Unavailable, "limits"},
		"no bucket":              {404, "notFound", "The specified bucket does not exist", Missing, "storageUri"},
		"not a name":             {400, "invalid", "Invalid bucket name: 'x'", Invalid, "storageUri"},
		"its readers are billed": {400, "required", "Bucket is a requester pays bucket but no user project provided", Forbidden, "sent without credentials"},
		"down":                   {503, "backendError", "We encountered an internal error", Unavailable, "retried"},
	} {
		t.Run(name, func(t *testing.T) {
			server := errorServer(t, tc.status, map[string]string{"Content-Type": "application/json"}, fmt.Sprintf(
				`{"error": {"code": %d, "message": %q, "errors": [{"reason": %q}]}}`, tc.status, tc.message+".", tc.reason))
			t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL, "http://"))
			err := fetchInto(t, openTest(t, "gs://bucket/m", os.Getenv), t.TempDir())
			wantMessage(t, err, tc.kind, "gs://bucket/m: ", strconv.Itoa(tc.status), tc.message, tc.words)
		})
	}
	for reason, words := range map[string]string{ // With credentials. An emulator uses none.
		"accountDisabled": "disabled", "userProjectMissing": "bills its readers", "authError": "expired", "forbidden": "Storage Object Viewer",
	} {
		got := responseError{status: 403, code: reason}.diagnose()
		if got.kind != Forbidden || !strings.Contains(got.remedy, words) {
			t.Errorf("%s: got %v", reason, got)
		}
	}
}

// Errors of list requests are JSON, errors of reads are XML.
func TestGoogleErrorResponsesToReads(t *testing.T) {
	for code, words := range map[string]string{"AccessDenied": "sent without credentials", "UserProjectMissing": "as it happens"} {
		t.Run(code, func(t *testing.T) {
			source := storesWith(pattern(10))["gs"](t, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `<?xml version='1.0'?><Error><Code>%s</Code><Message>as it happens</Message></Error>`, code)
			})
			wantMessage(t, fetchInto(t, source, t.TempDir()), Forbidden, "a: ", code, words)
		})
	}
}

func TestAzureErrorResponses(t *testing.T) {
	key := map[string]string{"AZURE_STORAGE_ACCESS_KEY": "YQ=="}
	for name, tc := range map[string]struct {
		env    map[string]string
		status int
		code   string
		kind   Kind
		words  string
	}{
		"wrong key":               {key, 403, "AuthenticationFailed", Forbidden, "AZURE_STORAGE_ACCESS_KEY"},
		"firewall":                {key, 403, "AuthorizationFailure", Forbidden, "firewall"},
		"no role":                 {key, 403, "AuthorizationPermissionMismatch", Forbidden, "Storage Blob Data Reader"},
		"keys disabled":           {key, 403, "KeyBasedAuthenticationNotPermitted", Forbidden, "does not allow keys"},
		"account disabled":        {key, 403, "AccountIsDisabled", Forbidden, "disabled"},
		"bad token":               {key, 401, "InvalidAuthenticationInfo", Forbidden, "expired"},
		"no container":            {key, 404, "ContainerNotFound", Missing, "container"},
		"archived":                {key, 409, "BlobArchived", Invalid, "archived"},
		"wrong name":              {key, 400, "InvalidResourceName", Invalid, "container"},
		"busy":                    {key, 503, "ServerBusy", Unavailable, "limits"},
		"down":                    {key, 500, "InternalError", Unavailable, "retried"},
		"hidden from the public":  {nil, 404, "ResourceNotFound", Forbidden, "sent without credentials"},
		"public access is off":    {nil, 409, "PublicAccessNotPermitted", Forbidden, "sent without credentials"},
		"no authentication":       {nil, 401, "NoAuthenticationInformation", Forbidden, "sent without credentials"},
		"no container, to anyone": {nil, 404, "ContainerNotFound", Missing, "container"},
	} {
		t.Run(name, func(t *testing.T) {
			server := errorServer(t, tc.status, map[string]string{"X-Ms-Error-Code": tc.code}, "")
			env := map[string]string{"AZURE_SERVICE_URL": server.URL}
			maps.Copy(env, tc.env)
			err := fetchInto(t, openTest(t, "https://account.blob.core.windows.net/models/m", envOf(env)), t.TempDir())
			wantMessage(t, err, tc.kind, "models/m: ", strconv.Itoa(tc.status), tc.words)
		})
	}
}

func TestHubErrorResponses(t *testing.T) {
	for name, tc := range map[string]struct {
		token  string
		status int
		code   string
		kind   Kind
		words  string
	}{
		"no repository, or a hidden one": {"", 401, "RepoNotFound", Missing, "HF_TOKEN"},
		"no repository":                  {"t", 404, "RepoNotFound", Missing, "storageUri"},
		"gated, without a token":         {"", 401, "GatedRepo", Forbidden, "accept the conditions"},
		"gated, with a token":            {"t", 403, "GatedRepo", Forbidden, "accept the conditions"},
		"no revision":                    {"t", 404, "RevisionNotFound", Missing, "revision"},
		"disabled":                       {"t", 403, "DisabledRepo", Forbidden, "disabled"},
		"a wrong token":                  {"t", 401, "", Forbidden, "the credentials are not accepted"},
		"no token":                       {"", 401, "", Forbidden, "sent without credentials"},
		"too often":                      {"t", 429, "", Unavailable, "limits"},
		"down":                           {"t", 502, "", Unavailable, "retried"},
	} {
		t.Run(name, func(t *testing.T) {
			server := errorServer(t, tc.status, map[string]string{"X-Error-Code": tc.code, "X-Error-Message": "as it happens"}, "")
			env := envOf(map[string]string{"HF_ENDPOINT": server.URL, "HF_TOKEN": tc.token})
			err := fetchInto(t, openTest(t, "hf://org/model", env), t.TempDir())
			wantMessage(t, err, tc.kind, "hf://org/model:main: ", strconv.Itoa(tc.status), tc.words)
		})
	}
}

func TestWebErrorResponses(t *testing.T) {
	for name, tc := range map[string]struct {
		path, headers string
		status        int
		body          string
		kind          Kind
		words         string
	}{
		"signed, and expired":           {"/a?sig=hunter2", "", 403, `<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>`, Forbidden, "Request has expired; if the address is signed"},
		"signed at Azure, and expired":  {"/a?sig=hunter2", "", 403, `<Error><Code>AuthenticationFailed</Code><Message>Server failed</Message></Error>`, Forbidden, "if the address is signed"},
		"no headers":                    {"/a", "", 401, "", Forbidden, "sent without credentials"},
		"wrong headers":                 {"/a", `{"X-Api-Key": "x"}`, 403, "", Forbidden, "the credentials are not accepted"},
		"missing":                       {"/a", "", 404, "<html>page</html>", Missing, "storageUri"},
		"gone":                          {"/a", "", 410, "", Missing, "storageUri"},
		"a redirect that leads nowhere": {"/a", "", 302, "", Redirected, "302"},
		"too often":                     {"/a", "", 429, `{"error": "slow down"}`, Unavailable, "slow down"},
		"down":                          {"/a", "", 503, "", Unavailable, "retried"},
		"refused":                       {"/a", "", 406, "", Invalid, "the store refuses the request"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer server.Close()
			env := envOf(map[string]string{strings.TrimPrefix(server.URL, "http://") + "-headers": tc.headers})
			err := fetchInto(t, openTest(t, server.URL+tc.path, env), t.TempDir())
			wantMessage(t, err, tc.kind, "/a", strconv.Itoa(tc.status), tc.words)
		})
	}
}

// For example, the console of MinIO or the error page of a proxy.
func TestResponsesThatAreNotFromTheStore(t *testing.T) {
	server := errorServer(t, http.StatusOK, map[string]string{"Content-Type": "text/html"}, "<!doctype html><html><body>Console</html>")
	awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": server.URL, "STORAGE_EMULATOR_HOST": strings.TrimPrefix(server.URL, "http://")})
	for _, uri := range []string{"s3://bucket/m", "gs://bucket/m", "hf://org/model", "https://account.blob.core.windows.net/models/m"} {
		t.Run(uri, func(t *testing.T) {
			t.Setenv("HF_ENDPOINT", server.URL)
			t.Setenv("AZURE_SERVICE_URL", server.URL)
			err := fetchInto(t, openTest(t, uri, os.Getenv), t.TempDir())
			wantMessage(t, err, Unavailable, "check that the endpoint is that of the store")
		})
	}
}

func TestDiagnoseClientErrors(t *testing.T) {
	const network, volume = "network policies", "kserve-provision-location"
	for name, tc := range map[string]struct {
		err   error
		kind  Kind
		words string
	}{
		"no such host":          {&net.DNSError{Err: "no such host", Name: "minio", IsNotFound: true}, Unreachable, network},
		"refused":               {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, Unreachable, network},
		"timeout":               {&url.Error{Op: "Get", URL: "http://minio", Err: context.DeadlineExceeded}, Unreachable, network},
		"silence":               {idleError{host: "minio"}, Unreachable, network},
		"cut off":               {io.ErrUnexpectedEOF, Unreachable, network},
		"unknown authority":     {x509.UnknownAuthorityError{}, Unreachable, "certificate"},
		"not HTTPS":             {&url.Error{Op: "Get", URL: "https://minio", Err: http.ErrSchemeMismatch}, Unreachable, "does not speak HTTPS"},
		"no right to write":     {&fs.PathError{Op: "open", Path: "a", Err: syscall.EACCES}, Unwritable, volume},
		"read-only":             {&os.LinkError{Op: "rename", Err: syscall.EROFS}, Unwritable, volume},
		"full":                  {&fs.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}, NoSpace, volume},
		"no protocol":           {&url.Error{Op: "Get", URL: "ftp://minio", Err: errors.New("unsupported protocol scheme")}, Unavailable, "endpoint"},
		"something that is new": {errors.New("something new"), Unavailable, "endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			err := wrapError("model", tc.err)
			wantKind(t, err, tc.kind, tc.words)
			if mentions := strings.Contains(err.Error(), network); mentions != (tc.words == network) {
				t.Errorf("the error mentions the network: %v", err)
			}
		})
	}
}

func TestServerWithoutTLS(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	err := fetchInto(t, openTest(t, strings.Replace(server.URL, "http://", "https://", 1)+"/a", noEnv), t.TempDir())
	wantMessage(t, err, Unreachable, "write http://")
}

func TestUnwritableVolume(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/models", nil, 0o600); err != nil { // Not even root can create a folder below a file.
		t.Fatal(err)
	}
	store := &fakeStore{content: map[string][]byte{"a": pattern(1)}}
	wantMessage(t, fetchInto(t, store, dir+"/models/below"), Unwritable, "kserve-provision-location")
}

func TestUnsupportedStores(t *testing.T) {
	for uri, words := range map[string]string{
		"modelscope://qwen/Qwen2-0.5B":                      "ModelScope",
		"ms://qwen/Qwen2-0.5B":                              "ModelScope",
		"https://account.file.core.windows.net/share/model": "Azure Files",
		"https://account.z12.file.storage.azure.net/s/m":    "Azure Files",
	} {
		_, err := Open(t.Context(), uri, noEnv)
		wantMessage(t, err, Invalid, uri, words, "copy the model")
	}
	if !isAzure("https://account.z12.blob.storage.azure.net/models/m") || isAzure("https://account.blob.core.windows.net.example.com/models/m") {
		t.Error("isAzure() is wrong")
	}
}

func TestLongErrorResponsesAreTruncated(t *testing.T) {
	body := bytes.Repeat([]byte("é"), 10<<10)
	server := errorServer(t, http.StatusBadGateway, nil, string(body))
	wantMessage(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Unavailable, "502")
}
