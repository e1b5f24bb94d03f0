// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"google.golang.org/api/option"
)

// credentialsTimeout bounds the search for credentials, which asks servers that
// are not there outside of a cloud.
const credentialsTimeout = 10 * time.Second

// openGCS opens gs://<bucket>/<prefix>. Without credentials it asks as anybody
// may, which is enough for public buckets.
func openGCS(ctx context.Context, rest string, env Environment) (Source, error) {
	name, prefix, _ := strings.Cut(rest, "/")
	var options gcsblob.Options
	transport := newTransport(trust{})
	client := gcp.NewAnonymousHTTPClient(transport)
	if host := env("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		options.ClientOptions = append(options.ClientOptions, option.WithEndpoint(strings.TrimSuffix(host, "/")+"/storage/v1/"))
	} else if err := logIn(ctx, &client, transport, env); err != nil {
		return nil, &Error{Kind: Forbidden, Object: "gs://" + rest, Err: err}
	}
	opened, err := gcsblob.OpenBucket(ctx, client, name, &options)
	if err != nil {
		return nil, err
	}
	var own *gcs.Client
	if opened.As(&own) {
		// By itself it tries for ever, and says nothing. It is tried again here.
		own.SetRetry(gcs.WithMaxAttempts(1))
	}
	return newBucket(opened, "gs://"+rest, prefix), nil
}

// logIn takes credentials if there are some. Those that were given must be good.
func logIn(ctx context.Context, client **gcp.HTTPClient, transport http.RoundTripper, env Environment) error {
	search, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	credentials, err := gcp.DefaultCredentials(search)
	switch {
	case err == nil:
	case env("GOOGLE_APPLICATION_CREDENTIALS") == "":
		return nil // There are none, and so none are used.
	default:
		return err
	}
	*client, err = gcp.NewHTTPClient(transport, gcp.CredentialsTokenSource(credentials))
	return err
}

const azureHost = ".blob.core.windows.net"

func isAzure(uri string) bool {
	parsed, err := url.Parse(uri)
	return err == nil && parsed.Scheme == "https" && strings.HasSuffix(parsed.Hostname(), azureHost)
}

// openAzure opens https://<account>.blob.core.windows.net/<container>/<prefix>.
func openAzure(ctx context.Context, uri string, env Environment) (Source, error) {
	parsed, err := url.Parse(uri)
	if err != nil {
		return nil, invalid(uri, "%w", err)
	}
	name, prefix, _ := strings.Cut(strings.Trim(parsed.Path, "/"), "/")
	if name == "" {
		return nil, invalid(uri, "it names no container: write https://<account>%s/<container>/<path>", azureHost)
	}
	service := env("AZURE_SERVICE_URL")
	if service == "" {
		service = "https://" + parsed.Host
	}
	client, err := azureClient(strings.TrimSuffix(service, "/")+"/"+name, strings.TrimSuffix(parsed.Hostname(), azureHost), env)
	if err != nil {
		return nil, err
	}
	opened, err := azureblob.OpenBucket(ctx, client, nil)
	if err != nil {
		return nil, err
	}
	return newBucket(opened, uri, prefix), nil
}

// azureClient takes an account key, a token, a service principal or the identity
// of the workload, whichever the environment has, or else asks as anybody may.
func azureClient(containerURL, account string, env Environment) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: newTransport(trust{})},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // It is tried again here.
	}}
	if key := env("AZURE_STORAGE_ACCESS_KEY"); key != "" {
		if own := env("AZURE_ACCOUNT_NAME"); own != "" {
			account = own
		}
		credential, err := container.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, err
		}
		return container.NewClientWithSharedKeyCredential(containerURL, credential, options)
	}
	if token := env("AZURE_ACCESS_TOKEN"); token != "" {
		return container.NewClient(containerURL, fixedToken(token), options)
	}
	if env("AZURE_CLIENT_ID") == "" {
		return container.NewClientWithNoCredential(containerURL, options)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(containerURL, credential, options)
}

// fixedToken is a token that somebody else has asked for.
type fixedToken string

// GetToken implements [azcore.TokenCredential].
func (t fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}
