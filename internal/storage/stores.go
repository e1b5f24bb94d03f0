// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	gcs "cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
)

// openGCS opens gs://<bucket>/<prefix>. Without credentials, access is anonymous, which is enough
// for public buckets.
func openGCS(ctx context.Context, rest string, env Environment) (Source, error) {
	name, prefix, _ := strings.Cut(rest, "/")
	if name == "" {
		return nil, invalid("gs://"+rest, "it names no bucket; write gs://<bucket>/<path>")
	}
	client, getCredentials, err := googleClient(ctx, env)
	if err != nil {
		return nil, credentialsError("gs://"+rest, err)
	}
	var options gcsblob.Options
	if host := env("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		options.ClientOptions = []option.ClientOption{
			option.WithEndpoint(strings.TrimSuffix(host, "/") + "/storage/v1/"), option.WithHTTPClient(&client.Client),
		}
	}
	opened, err := gcsblob.OpenBucket(ctx, client, name, &options)
	if err != nil {
		return nil, err
	}
	var gcsClient *gcs.Client
	if opened.As(&gcsClient) {
		// This package retries. The client would retry forever, and silently.
		gcsClient.SetRetry(gcs.WithMaxAttempts(1))
	}
	source := newBucket(opened, "gs://"+rest, prefix)
	source.getCredentials = getCredentials
	return source, nil
}

func googleClient(ctx context.Context, env Environment) (client *gcp.HTTPClient, getCredentials func(context.Context) error, err error) {
	transport := redirectRefuser{newTransport(trust{})} // The client would send its token to any host.
	client = gcp.NewAnonymousHTTPClient(transport)
	if env("STORAGE_EMULATOR_HOST") == "" {
		tokens, err := googleTokens(ctx, &http.Client{Transport: transport}, env)
		if err != nil {
			return nil, nil, err
		}
		if tokens != nil {
			client, err = gcp.NewHTTPClient(transport, tokens)
			getCredentials = func(context.Context) error {
				_, err := tokens.Token()
				return err
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return client, getCredentials, nil
}

// googleTokens returns the source of tokens, or nil if no credentials are configured. It returns an
// error if the configured credentials cannot be used.
func googleTokens(ctx context.Context, client *http.Client, env Environment) (gcp.TokenSource, error) {
	if file := env("GOOGLE_APPLICATION_CREDENTIALS"); file != "" {
		if err := checkGoogleCredentials(file); err != nil {
			return nil, err
		}
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client) // The default client has no timeout.
	credentials, err := gcp.DefaultCredentials(ctx)
	switch {
	case err == nil:
		tokens := gcp.CredentialsTokenSource(credentials)
		if len(credentials.JSON) == 0 && hasNoAccount(tokens) {
			return nil, nil
		}
		return tokens, nil
	case env("GOOGLE_APPLICATION_CREDENTIALS") == "" && strings.Contains(err.Error(), "could not find default credentials"):
		return nil, nil
	}
	return nil, invalidSetting(cmp.Or(env("GOOGLE_APPLICATION_CREDENTIALS"), "gs://"), googleRemedy, "the credentials cannot be used: %w", err)
}

// hasNoAccount reports whether the metadata server responds that the machine has no account.
func hasNoAccount(tokens gcp.TokenSource) bool {
	_, err := tokens.Token()
	_, isUndefined := errors.AsType[metadata.NotDefinedError](err)
	return isUndefined
}

const googleRemedy = "put the file that Google gives, unchanged, under the secret's key gcloud-application-credentials.json"

func checkGoogleCredentials(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return &Error{Kind: Forbidden, Object: path, Err: fmt.Errorf("the credentials cannot be read: %w", err), Remedy: googleRemedy}
	}
	var credentials struct {
		Type       string `json:"type"`
		PrivateKey string `json:"private_key"`
	}
	switch err := json.Unmarshal(content, &credentials); {
	case err != nil:
		return invalidSetting(path, googleRemedy, "the credentials are not valid JSON: %w", err)
	case credentials.Type == "":
		return invalidSetting(path, googleRemedy, "the credentials have no type, such as service_account or external_account")
	case credentials.Type != "service_account":
		return nil
	}
	if block, _ := pem.Decode([]byte(credentials.PrivateKey)); block == nil {
		return invalidSetting(path, googleRemedy, "private_key of the credentials is not a PEM key")
	}
	return nil
}

var azureHosts = regexp.MustCompile(`^([^.]+)(\.blob\.core\.windows\.net|\.z\d+\.blob\.storage\.azure\.net)$`)

var azureFilesHosts = regexp.MustCompile(`^[^.]+(\.file\.core\.windows\.net|\.z\d+\.file\.storage\.azure\.net)$`)

func isAzure(uri string) bool { return hasHost(uri, azureHosts) }

// isAzureFiles reports whether a URI is a folder in Azure Files. A file with a signature in its URL
// is an ordinary HTTPS download.
func isAzureFiles(uri string) bool {
	parsed, err := url.Parse(uri)
	return hasHost(uri, azureFilesHosts) && err == nil && !parsed.Query().Has("sig")
}

func hasHost(uri string, hosts *regexp.Regexp) bool {
	parsed, err := url.Parse(uri)
	return err == nil && parsed.Scheme == "https" && hosts.MatchString(strings.ToLower(parsed.Hostname()))
}

// openAzure opens https://<account>.blob.core.windows.net/<container>/<prefix>. A query is a shared
// access signature (SAS), which gives access without other credentials.
func openAzure(ctx context.Context, uri string, env Environment) (Source, error) {
	parsed, err := url.Parse(uri)
	if err != nil {
		return nil, invalid(uri, "%w", err)
	}
	name, prefix, _ := strings.Cut(strings.Trim(parsed.Path, "/"), "/")
	if name == "" {
		return nil, invalid(uri, "it names no container: write https://<account>.blob.core.windows.net/<container>/<path>")
	}
	service := cmp.Or(env("AZURE_SERVICE_URL"), parsed.Scheme+"://"+parsed.Host)
	if _, err := addressOf(service); err != nil {
		return nil, invalidSetting(uri, "write https://host", "AZURE_SERVICE_URL %q is not an address: %w", service, err)
	}
	a := azure{container: strings.TrimSuffix(service, "/") + "/" + name, env: env, uri: uri, signature: parsed.RawQuery}
	a.account, _, _ = strings.Cut(parsed.Hostname(), ".")
	client, getCredentials, err := a.client()
	if err != nil {
		return nil, err
	}
	opened, err := azureblob.OpenBucket(ctx, client, nil)
	if err != nil {
		return nil, err
	}
	source := newBucket(opened, uri, prefix)
	source.getCredentials = getCredentials
	return source, nil
}

type azure struct {
	uri, account, container, signature string
	env                                Environment
}

func hasCredentials(context.Context) error { return nil }

// client returns a client with the first credentials that are configured: a signature, an account
// key, a token, a service principal or a workload identity. Otherwise it is anonymous.
func (a azure) client() (*container.Client, func(context.Context) error, error) {
	options := &container.ClientOptions{ClientOptions: azureOptions()}
	if a.signature != "" {
		client, err := container.NewClientWithNoCredential(a.container+"?"+a.signature, options)
		return client, hasCredentials, err
	}
	if key := a.env("AZURE_STORAGE_ACCESS_KEY"); key != "" {
		credential, err := container.NewSharedKeyCredential(cmp.Or(a.env("AZURE_ACCOUNT_NAME"), a.account), key)
		if err != nil {
			return nil, nil, invalidSetting(a.uri, "correct it in the secret",
				"AZURE_STORAGE_ACCESS_KEY is not the key of a storage account: it is not valid base64")
		}
		client, err := container.NewClientWithSharedKeyCredential(a.container, credential, options)
		return client, hasCredentials, err
	}
	credential, err := a.credential()
	if err != nil {
		return nil, nil, err
	}
	if credential == nil {
		client, err := container.NewClientWithNoCredential(a.container, options)
		return client, nil, err
	}
	if strings.HasPrefix(a.container, "http://") {
		return nil, nil, invalidSetting(a.uri, "write https:// in storageUri or AZURE_SERVICE_URL, or use AZURE_STORAGE_ACCESS_KEY",
			"a token is not sent over http://")
	}
	client, err := container.NewClient(a.container, credential, options)
	return client, func(ctx context.Context) error {
		_, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}})
		return err
	}, err
}

func azureOptions() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: withoutRedirects(newTransport(trust{})),
		Retry:     policy.RetryOptions{MaxRetries: -1}, // This package retries.
	}
}

func (a azure) credential() (azcore.TokenCredential, error) {
	if token := strings.TrimSpace(a.env("AZURE_ACCESS_TOKEN")); token != "" {
		seconds, err := strconv.ParseInt(a.env("AZURE_ACCESS_EXPIRES_ON_SECONDS"), 10, 64)
		if err == nil && time.Unix(seconds, 0).Before(time.Now()) {
			return nil, &Error{
				Kind: Forbidden, Object: a.uri, Remedy: "renew AZURE_ACCESS_TOKEN and AZURE_ACCESS_EXPIRES_ON_SECONDS in the secret",
				Err: errors.New("AZURE_ACCESS_TOKEN has expired: the time in AZURE_ACCESS_EXPIRES_ON_SECONDS is in the past"),
			}
		}
		return fixedToken(token), nil
	}
	if a.env("AZURE_CLIENT_ID") == "" {
		if a.env("AZURE_CLIENT_SECRET") != "" {
			return nil, invalidSetting(a.uri, "add it to the secret", "AZURE_CLIENT_SECRET is set, but AZURE_CLIENT_ID is not")
		}
		return nil, nil
	}
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: azcore.ClientOptions{
		Transport: withoutRedirects(newTransport(trust{})),
	}})
	if err != nil {
		return nil, credentialsError(a.uri, err)
	}
	return credential, nil
}

type fixedToken string

// GetToken implements [azcore.TokenCredential].
func (t fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}
