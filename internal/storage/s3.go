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

// s3Source is a bucket of S3.
type s3Source struct {
	*bucket
	name   string
	config aws.Config
	env    Environment
	trust  trust
	// isRedirected says that the bucket is asked for in the region that the store has named.
	isRedirected bool
}

// openS3 opens s3://<bucket>/<prefix>.
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
	region := cmp.Or(env("AWS_DEFAULT_REGION"), env("AWS_REGION"), "us-east-1") // The first is the secret's, the other may be the cluster's.
	// It is tried again here, for the issuers of credentials as well.
	once := func() aws.Retryer { return aws.NopRetryer{} }
	config, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithRetryer(once),
		awsconfig.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) { setIssuer(o, region, env) }))
	if err != nil {
		return nil, noCredentials(uri, err)
	}
	source := &s3Source{name: name, config: config, env: env, trust: trust}
	logIn, err := s3LogIn(ctx, config, env)
	if err != nil {
		return nil, noCredentials(uri, err)
	}
	if logIn == nil {
		source.config.Credentials = aws.AnonymousCredentials{}
	}
	return source, source.open(ctx, uri, prefix, logIn)
}

func (s *s3Source) open(ctx context.Context, uri, prefix string, logIn func(context.Context) error) error {
	client := s.client()
	opened, err := s3blob.OpenBucket(ctx, client, s.name, nil)
	if err != nil {
		return err
	}
	s.bucket = newBucket(opened, uri, prefix)
	s.logIn = logIn
	s.sums = func(ctx context.Context, objects []Object) error { return crcs(ctx, client, s.name, objects) }
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

// redirect asks for the bucket in another region from now on.
func (s *s3Source) redirect(region string) { s.config.Region, s.isRedirected = region, true }

// List implements [Source]. It follows the store to the region of the bucket.
func (s *s3Source) List(ctx context.Context) ([]Object, error) {
	objects, err := s.bucket.List(ctx)
	region := regionOf(err)
	if region == "" || s.isRedirected {
		return objects, err
	}
	s.redirect(region)
	if err := s.open(ctx, s.uri, s.prefix, s.logIn); err != nil {
		return nil, fail(s.uri, err)
	}
	return s.bucket.List(ctx)
}

var (
	expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)
	regionName     = regexp.MustCompile(`^[a-z0-9-]+$`)
	// amazonS3 is the host of a region, or of all.
	amazonS3 = regexp.MustCompile(`^s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
)

// regionOf is the region of the bucket, if the store refuses a request and names it.
func regionOf(err error) string {
	answer, is := errors.AsType[*smithyhttp.ResponseError](err)
	if !is || answer.Response == nil {
		return ""
	}
	if region := answer.Response.Header.Get("X-Amz-Bucket-Region"); regionName.MatchString(region) {
		return region
	}
	if match := expectedRegion.FindStringSubmatch(err.Error()); match != nil {
		return match[1]
	}
	return ""
}

// s3LogIn gets credentials from the source that is configured, or returns nil if
// none is. The role of the machine is not configured: it is there, or it is not.
func s3LogIn(ctx context.Context, config aws.Config, env Environment) (func(context.Context) error, error) {
	if env.isSet("awsAnonymousCredential") || config.Credentials == nil {
		return nil, nil
	}
	logIn := func(ctx context.Context) error {
		_, err := config.Credentials.Retrieve(ctx)
		return err
	}
	if !aws.IsCredentialsProvider(config.Credentials, &ec2rolecreds.Provider{}) {
		return logIn, nil
	}
	const searchTimeout = 10 * time.Second // Outside of a cloud, no server answers.
	search, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	err := logIn(search)
	if status := statusOf(err); err == nil || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError {
		return logIn, nil // It is there, and may only be busy.
	}
	return nil, ctx.Err()
}

// checkS3Settings refuses what would otherwise fail as an error of the network, or be without effect.
func checkS3Settings(uri string, env Environment) error {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
	} {
		if strings.ContainsFunc(env(name), unicode.IsSpace) {
			return badSetting(uri, "correct it in the secret; echo -n writes no line break", "%s has a space or a line break in it", name)
		}
	}
	switch hasID, hasKey := env("AWS_ACCESS_KEY_ID") != "", env("AWS_SECRET_ACCESS_KEY") != ""; {
	case env.isSet("awsAnonymousCredential"):
	case hasID && !hasKey:
		return badSetting(uri, "add it to the secret", "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not")
	case hasKey && !hasID:
		return badSetting(uri, "add it to the secret", "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not")
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		if endpoint := env(name); endpoint != "" {
			if _, err := addressOf(endpoint); err != nil {
				return badSetting(uri, "write https://host:port or http://host:port, in the annotation serving.kserve.io/s3-endpoint of the secret "+
					"or as endpoint_url in storage-config", "the endpoint %s %q is not an address: %w", name, endpoint, err)
			}
		}
	}
	return nil
}

// setIssuer keeps an endpoint that is S3's at Amazon from being asked for the
// credentials of a role, which the client does with any AWS_ENDPOINT_URL.
func setIssuer(o *stscreds.WebIdentityRoleOptions, region string, env Environment) {
	endpoint, err := addressOf(env("AWS_ENDPOINT_URL"))
	if err == nil && amazonS3.MatchString(endpoint.Hostname()) && env("AWS_ENDPOINT_URL_STS") == "" {
		o.Client = sts.New(sts.Options{Region: region})
	}
}

func setS3Options(o *s3.Options, env Environment, trust trust) {
	o.HTTPClient = withoutRedirects(newTransport(trust))
	o.UseAccelerate = env.isSet("S3_USE_ACCELERATE")
	// Acceleration is by the name of the host, and so the bucket must be in it.
	o.UsePathStyle = !env.isSet("S3_USER_VIRTUAL_BUCKET") && !o.UseAccelerate && !needsVirtualHost(o)
	// The client would check, slowly, what is checked here in any case.
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
}

// globalS3 is the host of S3 in all regions. With the bucket in its path, it
// serves those in us-east-1 only; with the bucket in front, it serves all.
const globalS3 = "s3.amazonaws.com"

func needsVirtualHost(o *s3.Options) bool {
	endpoint, err := addressOf(aws.ToString(o.BaseEndpoint))
	return err == nil && endpoint.Hostname() == globalS3 && o.Region != "" && o.Region != "us-east-1"
}

// useRegionalEndpoint leaves an endpoint of Amazon's that cannot serve the bucket
// in its region: one of another region, or the global one if the bucket's name
// has dots and so cannot be in front of it under TLS.
func useRegionalEndpoint(o *s3.Options, bucket string) {
	endpoint, err := addressOf(aws.ToString(o.BaseEndpoint))
	if err != nil || !amazonS3.MatchString(endpoint.Hostname()) || needsVirtualHost(o) && !strings.Contains(bucket, ".") {
		return
	}
	o.BaseEndpoint = nil
	o.EndpointOptions.DisableHTTPS = endpoint.Scheme == "http"
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
		remedy := fmt.Sprintf("check the ConfigMap %s, which is to have the key %s", env("CA_BUNDLE_CONFIGMAP_NAME"), filepath.Base(bundle))
		return trust{}, badSetting(bundle, remedy, "the certificates for S3 cannot be read: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(certificates) {
		return trust{}, badSetting(bundle, "check the ConfigMap "+env("CA_BUNDLE_CONFIGMAP_NAME"), "it has no certificates in PEM")
	}
	return trust{roots: roots}, nil
}
