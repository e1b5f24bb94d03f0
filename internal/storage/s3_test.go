// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestChecksumsOfS3(t *testing.T) {
	listed := Checksum{MD5, []byte("0123456789abcdef")}
	for name, tc := range map[string]struct {
		header map[string]string
		want   Algorithm
	}{
		"with a CRC":                  {map[string]string{"X-Amz-Checksum-Crc64nvme": "RIrJdPyj28Q=", "X-Amz-Checksum-Type": "FULL_OBJECT"}, CRC64},
		"with CRCs of its parts":      {map[string]string{"X-Amz-Checksum-Crc32": "RIrJdA==", "X-Amz-Checksum-Type": "COMPOSITE"}, MD5},
		"without any":                 {nil, MD5},
		"encrypted by a key of KMS":   {map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}, ""},
		"encrypted by the store's":    {map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}, MD5},
		"encrypted by KMS with a CRC": {map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Checksum-Crc32c": "RIrJdA=="}, CRC32C},
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
			if err := crcs(t.Context(), client, "bucket", objects); err != nil {
				t.Fatal(err)
			}
			if got := objects[0].Sum.Algorithm; got != tc.want {
				t.Errorf("it is held against %q, want %q", got, tc.want)
			}
		})
	}
}
