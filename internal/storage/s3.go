// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob/s3blob"
	"golang.org/x/sync/errgroup"
)

// openS3 opens s3://<bucket>/<prefix>.
func openS3(ctx context.Context, rest string, env Environment) (Source, error) {
	name, prefix, _ := strings.Cut(rest, "/")
	trust, err := s3Trust(env)
	if err != nil {
		return nil, err
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithDefaultRegion(cmp.Or(env("AWS_DEFAULT_REGION"), "us-east-1")))
	if err != nil {
		return nil, err
	}
	if env.isSet("awsAnonymousCredential") || !hasCredentials(ctx, config) {
		config.Credentials = aws.AnonymousCredentials{}
	}
	client := s3.NewFromConfig(config, func(o *s3.Options) { setS3Options(o, env, trust) })
	opened, err := s3blob.OpenBucket(ctx, client, name, nil)
	if err != nil {
		return nil, err
	}
	source := newBucket(opened, "s3://"+rest, prefix)
	source.sums = func(ctx context.Context, objects []Object) error { return crcs(ctx, client, name, objects) }
	return source, nil
}

func setS3Options(o *s3.Options, env Environment, trust trust) {
	o.HTTPClient = &http.Client{Transport: newTransport(trust)}
	o.RetryMaxAttempts = 1 // It is tried again here.
	o.UseAccelerate = env.isSet("S3_USE_ACCELERATE")
	// Acceleration is by the name of the host, and so the bucket must be in it.
	o.UsePathStyle = !env.isSet("S3_USER_VIRTUAL_BUCKET") && !o.UseAccelerate
	// The client would check, slowly, what is checked here in any case.
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
}

// crcs asks for the CRC that clients of S3 send with what they store: that takes
// a twentieth of the time of the MD5 that is listed. One that was stored in parts
// may have none of the whole. What is listed of an object that is encrypted by a
// key of KMS looks like an MD5, and is none.
func crcs(ctx context.Context, client *s3.Client, bucket string, objects []Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxWorkers)
	for i := range objects {
		object := &objects[i]
		group.Go(func() error {
			head, err := client.HeadObject(ctx, &s3.HeadObjectInput{
				Bucket: &bucket, Key: &object.Key, ChecksumMode: types.ChecksumModeEnabled,
			})
			if err != nil {
				return fail(object.Name, err)
			}
			if by := head.ServerSideEncryption; by == types.ServerSideEncryptionAwsKms || by == types.ServerSideEncryptionAwsKmsDsse {
				object.Sum = Checksum{}
			}
			if head.ChecksumType == types.ChecksumTypeComposite {
				return nil
			}
			for algorithm, value := range map[Algorithm]*string{
				CRC32: head.ChecksumCRC32, CRC32C: head.ChecksumCRC32C, CRC64: head.ChecksumCRC64NVME,
			} {
				if sum, err := base64.StdEncoding.DecodeString(aws.ToString(value)); err == nil && len(sum) > 0 {
					object.Sum = Checksum{algorithm, sum}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// s3Trust takes the certificates that the operator mounts: of the file that is
// named, or of the one of KServe's name in the ConfigMap that is named.
func s3Trust(env Environment) (trust, error) {
	if env.isOff("S3_VERIFY_SSL") {
		return trust{anybody: true}, nil
	}
	bundle := env("AWS_CA_BUNDLE")
	if bundle == "" && env("CA_BUNDLE_CONFIGMAP_NAME") != "" {
		bundle = filepath.Join(env("CA_BUNDLE_VOLUME_MOUNT_POINT"), "cabundle.crt")
	}
	if bundle == "" {
		return trust{}, nil
	}
	certificates, err := os.ReadFile(bundle)
	if err != nil {
		return trust{}, invalid(bundle, "the certificates for S3 cannot be read: %w: check the ConfigMap %s, which is to have the key %s",
			err, env("CA_BUNDLE_CONFIGMAP_NAME"), filepath.Base(bundle))
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(certificates) {
		return trust{}, invalid(bundle, "it has no certificates in PEM: check the ConfigMap %s", env("CA_BUNDLE_CONFIGMAP_NAME"))
	}
	return trust{roots: roots}, nil
}

func hasCredentials(ctx context.Context, config aws.Config) bool {
	search, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	_, err := config.Credentials.Retrieve(search)
	return err == nil
}
