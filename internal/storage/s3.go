// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob/s3blob"
	"golang.org/x/sync/errgroup"
)

// openS3 opens s3://<bucket>/<prefix>.
func openS3(ctx context.Context, rest string, env Environment) (Source, error) {
	name, prefix, _ := strings.Cut(rest, "/")
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithDefaultRegion(cmp.Or(env("AWS_DEFAULT_REGION"), "us-east-1"))}
	if env.isOff("S3_VERIFY_SSL") {
		options = append(options, awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // It was asked for.
		})))
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if env.isSet("awsAnonymousCredential") || !hasCredentials(ctx, config) {
		config.Credentials = aws.AnonymousCredentials{}
	}
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		o.UsePathStyle = !env.isSet("S3_USER_VIRTUAL_BUCKET")
		o.UseAccelerate = env.isSet("S3_USE_ACCELERATE")
		// The client would check, slowly, what is checked here in any case.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	opened, err := s3blob.OpenBucket(ctx, client, name, nil)
	if err != nil {
		return nil, err
	}
	source := newBucket(opened, "s3://"+rest, prefix)
	source.sums = func(ctx context.Context, objects []Object) error { return crcs(ctx, client, name, objects) }
	return source, nil
}

// crcs asks for the CRC that clients of S3 send with what they store: that takes
// a twentieth of the time of the MD5 that is listed. Of small objects it is not
// worth asking, and one that was stored in parts may have none of the whole.
func crcs(ctx context.Context, client *s3.Client, bucket string, objects []Object) error {
	const small = 1 << 20
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxWorkers)
	for i := range objects {
		object := &objects[i]
		if object.Size < small {
			continue
		}
		group.Go(func() error {
			head, err := client.HeadObject(ctx, &s3.HeadObjectInput{
				Bucket: &bucket, Key: &object.Key, ChecksumMode: types.ChecksumModeEnabled,
			})
			if err != nil {
				return fail(object.Name, err)
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

func hasCredentials(ctx context.Context, config aws.Config) bool {
	search, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	_, err := config.Credentials.Retrieve(search)
	return err == nil
}
