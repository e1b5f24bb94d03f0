// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestS3Checksums(t *testing.T) {
	listed := Checksum{MD5, []byte("0123456789abcdef")}
	for name, tc := range map[string]struct {
		header map[string]string
		want   Algorithm
	}{
		"with a CRC":                           {map[string]string{"X-Amz-Checksum-Crc64nvme": "RIrJdPyj28Q=", "X-Amz-Checksum-Type": "FULL_OBJECT"}, CRC64},
		"multipart, with CRCs":                 {map[string]string{"X-Amz-Checksum-Crc32": "RIrJdA==", "X-Amz-Checksum-Type": "COMPOSITE"}, MD5},
		"without any":                          {nil, MD5},
		"encrypted with a KMS key":             {map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}, ""},
		"encrypted with the store's key":       {map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}, MD5},
		"encrypted with a KMS key, with a CRC": {map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Checksum-Crc32c": "RIrJdA=="}, CRC32C},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for key, value := range tc.header {
					w.Header().Set(key, value)
				}
			}))
			defer server.Close()
			client := s3.New(s3.Options{
				BaseEndpoint: aws.String(server.URL), Region: "us-east-1", UsePathStyle: true, Credentials: aws.AnonymousCredentials{},
			})
			objects := []Object{{Name: "a", Key: "m/a", Size: 10, Sum: listed}}
			if err := setCRCs(t.Context(), client, "bucket", objects); err != nil {
				t.Fatal(err)
			}
			if got := objects[0].Sum.Algorithm; got != tc.want {
				t.Errorf("the algorithm is %q, want %q", got, tc.want)
			}
		})
	}
}

func regionalStore(t *testing.T, region string, refuse func(w http.ResponseWriter)) *httptest.Server {
	t.Helper()
	content := pattern(3*testRange + 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.Contains(r.Header.Get("Authorization"), "/"+region+"/s3/"):
			refuse(w)
		case r.URL.Query().Get("list-type") != "":
			fmt.Fprintf(w, `<ListBucketResult><Contents><Key>iris/a</Key><Size>%d</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`, len(content))
		default:
			http.ServeContent(w, r, "", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), bytes.NewReader(content))
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestS3RegionRedirect(t *testing.T) {
	for name, refuse := range map[string]func(w http.ResponseWriter){
		"permanent redirect": func(w http.ResponseWriter) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			w.WriteHeader(http.StatusMovedPermanently)
			_, _ = io.WriteString(w, `<Error><Code>PermanentRedirect</Code></Error>`)
		},
		"temporary redirect": func(w http.ResponseWriter) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			w.Header().Set("Location", "http://bucket.s3.eu-west-1.amazonaws.com/")
			w.WriteHeader(http.StatusTemporaryRedirect)
			_, _ = io.WriteString(w, `<Error><Code>TemporaryRedirect</Code></Error>`)
		},
		"expected region in the message": func(w http.ResponseWriter) { // For example, MinIO.
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `<Error><Code>AuthorizationHeaderMalformed</Code>`+
				`<Message>The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message></Error>`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := regionalStore(t, "eu-west-1", refuse)
			awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})
			dir := t.TempDir()
			if err := fetchInto(t, openTest(t, "s3://bucket/iris", os.Getenv), dir); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, map[string][]byte{"a": pattern(3*testRange + 1)})
		})
	}
}

func TestS3RegionIsChangedOnce(t *testing.T) {
	var requests atomic.Int64
	server := regionalStore(t, "none", func(w http.ResponseWriter) {
		requests.Add(1)
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		w.WriteHeader(http.StatusMovedPermanently)
		_, _ = io.WriteString(w, `<Error><Code>PermanentRedirect</Code><Message>use the endpoint of the bucket</Message></Error>`)
	})
	awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})
	err := fetchInto(t, openTest(t, "s3://bucket/iris", os.Getenv), t.TempDir())
	wantKind(t, err, Redirected, "301", "PermanentRedirect", "use the endpoint of the bucket", "s3-region")
	if requests.Load() != 2 || strings.Contains(err.Error(), "network") {
		t.Errorf("got %d requests, want 2: %v", requests.Load(), err)
	}
}

// AWS_REGION is often the cluster's region, set together with the pod's role.
func TestS3RegionOfTheSecretTakesPrecedence(t *testing.T) {
	server := regionalStore(t, "us-east-2", func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) })
	awsEnvironment(t, map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key",
		"AWS_DEFAULT_REGION": "us-east-2", "AWS_REGION": "eu-west-1",
	})
	if err := fetchInto(t, openTest(t, "s3://bucket/iris", os.Getenv), t.TempDir()); err != nil {
		t.Error(err)
	}
}

// The Secret in KServe's documentation has Amazon's global endpoint and a region.
func TestAmazonHosts(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint, region, bucket string
		virtual                  bool
		redirect                 string
		want                     string
	}{
		"none":                             {region: "eu-west-1", want: "https://s3.eu-west-1.amazonaws.com/models/a"},
		"none, redirected":                 {region: "us-east-1", redirect: "eu-west-1", want: "https://s3.eu-west-1.amazonaws.com/models/a"},
		"global":                           {endpoint: "https://s3.amazonaws.com", region: "us-east-1", want: "https://s3.amazonaws.com/models/a"},
		"global, with a region":            {endpoint: "https://s3.amazonaws.com", region: "us-east-2", want: "https://models.s3.amazonaws.com/a"},
		"global, with a region, over HTTP": {endpoint: "http://s3.amazonaws.com", region: "us-east-2", want: "http://models.s3.amazonaws.com/a"},
		"global, redirected":               {endpoint: "https://s3.amazonaws.com", region: "us-east-1", redirect: "us-east-2", want: "https://models.s3.amazonaws.com/a"},
		"global, redirected, with dots": {
			endpoint: "https://s3.amazonaws.com", region: "us-east-2", redirect: "us-east-2", bucket: "my.models", want: "https://s3.us-east-2.amazonaws.com/my.models/a",
		},
		"global, redirected to us-east-1": {
			endpoint: "https://s3.amazonaws.com", region: "us-east-2", redirect: "us-east-1", want: "https://s3.us-east-1.amazonaws.com/models/a",
		},
		"regional, redirected": {
			endpoint: "https://s3.eu-west-1.amazonaws.com", region: "eu-west-1", redirect: "us-east-2", want: "https://s3.us-east-2.amazonaws.com/models/a",
		},
		"regional, redirected, over HTTP": {
			endpoint: "http://s3.eu-west-1.amazonaws.com", region: "eu-west-1", redirect: "us-east-2", want: "http://s3.us-east-2.amazonaws.com/models/a",
		},
		"another store":             {endpoint: "http://minio:9000", region: "us-east-2", want: "http://minio:9000/models/a"},
		"another store, redirected": {endpoint: "http://minio:9000", region: "us-east-2", redirect: "eu-west-1", want: "http://minio:9000/models/a"},
		"a similar name":            {endpoint: "https://s3.amazonaws.com.example.com", region: "us-east-2", want: "https://s3.amazonaws.com.example.com/models/a"},
		"virtual-hosted style":      {endpoint: "https://minio:9000", region: "us-east-2", virtual: true, want: "https://models.minio:9000/a"},
	} {
		t.Run(name, func(t *testing.T) {
			awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": tc.endpoint, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})
			if tc.endpoint == "" {
				if err := os.Unsetenv("AWS_ENDPOINT_URL"); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("AWS_DEFAULT_REGION", tc.region)
			t.Setenv("S3_USER_VIRTUAL_BUCKET", strconv.FormatBool(tc.virtual))
			bucket := cmp.Or(tc.bucket, "models")
			source, ok := openTest(t, "s3://"+bucket+"/a", os.Getenv).(*s3Source)
			if !ok {
				t.Fatal("the source is not an s3Source")
			}
			if tc.redirect != "" {
				source.redirect(tc.redirect)
			}
			signed, err := s3.NewPresignClient(source.client()).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: new("a")})
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := strings.Cut(signed.URL, "?"); got != tc.want {
				t.Errorf("the URL is %s, want %s", got, tc.want)
			}
			if region := cmp.Or(tc.redirect, tc.region); !strings.Contains(signed.URL, "%2F"+region+"%2Fs3") {
				t.Errorf("the URL is not signed for %s: %s", region, signed.URL)
			}
		})
	}
}
