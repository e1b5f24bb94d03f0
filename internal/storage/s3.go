// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"gocloud.dev/blob/s3blob"
	"golang.org/x/sync/errgroup"
)

type s3Source struct {
	*bucket
	name   string
	config aws.Config
	env    Environment
	trust  trust
	// isRedirected reports whether the region is the one that the store named in a response.
	isRedirected bool
}

func openS3(ctx context.Context, rest string, env Environment) (Source, error) {
	name, prefix, _ := strings.Cut(rest, "/")
	uri := "s3://" + rest
	if name == "" {
		return nil, invalid(uri, "it names no bucket; write s3://<bucket>/<path>")
	}
	trust, err := s3Trust(env)
	if err != nil {
		return nil, err
	}
	if err := checkS3Settings(uri, env); err != nil {
		return nil, err
	}
	region := cmp.Or(env("AWS_DEFAULT_REGION"), env("AWS_REGION"), "us-east-1") // The second may be set for the whole cluster, the first comes from the Secret.
	// This package retries, also requests for credentials.
	noRetries := func() aws.Retryer { return aws.NopRetryer{} }
	config, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithRetryer(noRetries),
		awsconfig.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) { setSTSClient(o, region, env) }))
	if err != nil {
		return nil, credentialsError(uri, err)
	}
	source := &s3Source{name: name, config: config, env: env, trust: trust}
	getCredentials, err := s3Credentials(ctx, config, env)
	if err != nil {
		return nil, credentialsError(uri, err)
	}
	if getCredentials == nil {
		source.config.Credentials = aws.AnonymousCredentials{}
	}
	return source, source.open(ctx, uri, prefix, getCredentials)
}

func (s *s3Source) open(ctx context.Context, uri, prefix string, getCredentials func(context.Context) error) error {
	client := s.client()
	opened, err := s3blob.OpenBucket(ctx, client, s.name, nil)
	if err != nil {
		return err
	}
	s.bucket = newBucket(opened, uri, prefix)
	s.getCredentials = getCredentials
	s.setChecksums = func(ctx context.Context, objects []Object) error { return setCRCs(ctx, client, s.name, objects) }
	return nil
}

func (s *s3Source) client() *s3.Client {
	return s3.NewFromConfig(s.config, func(o *s3.Options) {
		setS3Options(o, s.env, s.trust)
		if s.isRedirected {
			useRegionalEndpoint(o, s.name)
		}
	})
}

func (s *s3Source) redirect(region string) { s.config.Region, s.isRedirected = region, true }

// List implements [Source]. If the store names another region for the bucket, it retries there.
func (s *s3Source) List(ctx context.Context) ([]Object, error) {
	objects, err := s.bucket.List(ctx)
	region := regionOf(err)
	if region == "" || s.isRedirected {
		return objects, err
	}
	s.redirect(region)
	if err := s.open(ctx, s.uri, s.prefix, s.getCredentials); err != nil {
		return nil, wrapError(s.uri, err)
	}
	return s.bucket.List(ctx)
}

var (
	expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)
	regionName     = regexp.MustCompile(`^[a-z0-9-]+$`)
	amazonS3       = regexp.MustCompile(`^s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
)

func regionOf(err error) string {
	response, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || response.Response == nil {
		return ""
	}
	if region := response.Response.Header.Get("X-Amz-Bucket-Region"); regionName.MatchString(region) {
		return region
	}
	if match := expectedRegion.FindStringSubmatch(err.Error()); match != nil {
		return match[1]
	}
	return ""
}

// s3Credentials returns a function that retrieves the configured credentials, or nil for anonymous
// access. Nothing configures the role of an EC2 instance, so it requests the role's credentials to
// find out whether there is one.
func s3Credentials(ctx context.Context, config aws.Config, env Environment) (func(context.Context) error, error) {
	if env.isSet("awsAnonymousCredential") || config.Credentials == nil {
		return nil, nil
	}
	getCredentials := func(ctx context.Context) error {
		_, err := config.Credentials.Retrieve(ctx)
		return err
	}
	if !aws.IsCredentialsProvider(config.Credentials, &ec2rolecreds.Provider{}) {
		return getCredentials, nil
	}
	const searchTimeout = 10 * time.Second // Outside of EC2, the metadata server does not respond.
	search, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	err := getCredentials(search)
	if status := statusOf(err); err == nil || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError {
		return getCredentials, nil // The role exists. The metadata server may be overloaded.
	}
	return nil, ctx.Err()
}

// checkS3Settings returns an error for settings that would have no effect, or would fail with a
// misleading network error.
func checkS3Settings(uri string, env Environment) error {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
	} {
		if strings.ContainsFunc(env(name), unicode.IsSpace) {
			return invalidSetting(uri, "correct it in the secret; echo -n writes no line break", "%s has a space or a line break in it", name)
		}
	}
	switch hasID, hasKey := env("AWS_ACCESS_KEY_ID") != "", env("AWS_SECRET_ACCESS_KEY") != ""; {
	case env.isSet("awsAnonymousCredential"):
	case hasID && !hasKey:
		return invalidSetting(uri, "add it to the secret", "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not")
	case hasKey && !hasID:
		return invalidSetting(uri, "add it to the secret", "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not")
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		if endpoint := env(name); endpoint != "" {
			if _, err := addressOf(endpoint); err != nil {
				return invalidSetting(uri, "write https://host:port or http://host:port, in the annotation serving.kserve.io/s3-endpoint of the secret "+
					"or as endpoint_url in storage-config", "the endpoint %s %q is not an address: %w", name, endpoint, err)
			}
		}
	}
	return nil
}

// setSTSClient sends requests for a role's credentials to STS. The SDK would send them to
// AWS_ENDPOINT_URL, even if that is an endpoint of Amazon S3.
func setSTSClient(o *stscreds.WebIdentityRoleOptions, region string, env Environment) {
	endpoint, err := addressOf(env("AWS_ENDPOINT_URL"))
	if err == nil && amazonS3.MatchString(endpoint.Hostname()) && env("AWS_ENDPOINT_URL_STS") == "" {
		o.Client = sts.New(sts.Options{Region: region})
	}
}

func setS3Options(o *s3.Options, env Environment, trust trust) {
	o.HTTPClient = withoutRedirects(newTransport(trust))
	o.UseAccelerate = env.isSet("S3_USE_ACCELERATE")
	// Accelerated endpoints have the bucket in the host name.
	o.UsePathStyle = !env.isSet("S3_USER_VIRTUAL_BUCKET") && !o.UseAccelerate && !needsVirtualHost(o)
	// This package verifies checksums itself, and faster.
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
}

// globalS3 is the host of Amazon S3 for all regions. With path-style requests it serves only
// buckets in us-east-1, with virtual-hosted-style requests all buckets.
const globalS3 = "s3.amazonaws.com"

func needsVirtualHost(o *s3.Options) bool {
	endpoint, err := addressOf(aws.ToString(o.BaseEndpoint))
	return err == nil && endpoint.Hostname() == globalS3 && o.Region != "" && o.Region != "us-east-1"
}

// useRegionalEndpoint removes an Amazon endpoint that cannot serve the bucket: one of another
// region, or the global one if the bucket's name has dots. Such a name in the host name does not
// match the TLS certificate.
func useRegionalEndpoint(o *s3.Options, bucket string) {
	endpoint, err := addressOf(aws.ToString(o.BaseEndpoint))
	if err != nil || !amazonS3.MatchString(endpoint.Hostname()) || needsVirtualHost(o) && !strings.Contains(bucket, ".") {
		return
	}
	o.BaseEndpoint = nil
	o.EndpointOptions.DisableHTTPS = endpoint.Scheme == "http"
}

// setCRCs replaces the listed MD5 checksums by CRCs, which take a twentieth of the time to compute.
// A multipart object may have no CRC of the whole object. If an object is encrypted with a KMS key,
// its listed ETag looks like an MD5 but is not one.
func setCRCs(ctx context.Context, client *s3.Client, bucket string, objects []Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxWorkers)
	for i := range objects {
		object := &objects[i]
		group.Go(func() error {
			head, err := client.HeadObject(ctx, &s3.HeadObjectInput{
				Bucket: &bucket, Key: &object.Key, ChecksumMode: types.ChecksumModeEnabled,
			})
			if err != nil {
				return wrapError(object.Name, err)
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

// s3Trust returns the certificate authorities in AWS_CA_BUNDLE, or in the key cabundle.crt of the
// ConfigMap that the operator mounts.
func s3Trust(env Environment) (trust, error) {
	if env.isOff("S3_VERIFY_SSL") {
		return trust{skipVerify: true}, nil
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
		remedy := fmt.Sprintf("check the ConfigMap %s, which must have the key %s", env("CA_BUNDLE_CONFIGMAP_NAME"), filepath.Base(bundle))
		return trust{}, invalidSetting(bundle, remedy, "the certificates for S3 cannot be read: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(certificates) {
		return trust{}, invalidSetting(bundle, "check the ConfigMap "+env("CA_BUNDLE_CONFIGMAP_NAME"), "it has no PEM certificates")
	}
	return trust{roots: roots}, nil
}
