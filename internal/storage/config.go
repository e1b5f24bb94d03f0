// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// The variables of a storage spec (model.storage). The first holds an entry of the Secret
// storage-config, the second the spec's parameters, which take precedence.
const (
	configVariable   = "STORAGE_CONFIG"
	overrideVariable = "STORAGE_OVERRIDE_CONFIG"
)

// WithStorageConfig returns an environment with the variables that the storage spec sets. It also
// sets them for the process, because the stores' clients read its environment.
func WithStorageConfig(env Environment) (Environment, error) {
	spec := map[string]string{}
	for _, name := range []string{configVariable, overrideVariable} {
		given := map[string]any{}
		if text := env(name); text != "" {
			if err := json.Unmarshal([]byte(text), &given); err != nil {
				return nil, invalid(name, "it is not a JSON object: check the secret storage-config, and model.storage.parameters")
			}
		}
		for key, value := range given {
			spec[key] = fmt.Sprint(value)
		}
	}
	if len(spec) == 0 {
		return env, nil
	}
	added, err := variablesOf(spec)
	if err != nil {
		return nil, err
	}
	for name, value := range added {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return func(name string) string { return cmp.Or(added[name], env(name)) }, nil
}

func variablesOf(spec map[string]string) (map[string]string, error) {
	variables := map[string]string{}
	for key, name := range map[string]string{
		"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY",
		"endpoint_url": "AWS_ENDPOINT_URL", "region": "AWS_DEFAULT_REGION", "anonymous": "awsAnonymousCredential",
		"verify_ssl": "S3_VERIFY_SSL", "ca_bundle": "AWS_CA_BUNDLE",
	} {
		if value := spec[key]; value != "" {
			variables[name] = value
		}
	}
	if region := variables["AWS_DEFAULT_REGION"]; region != "" {
		variables["AWS_REGION"] = region
	}
	if encoded := spec["base64_service_account"]; encoded != "" {
		path, err := writeServiceAccount(encoded)
		if err != nil {
			return nil, err
		}
		variables["GOOGLE_APPLICATION_CREDENTIALS"] = path
	}
	return variables, nil
}

func writeServiceAccount(encoded string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", invalid(configVariable, "base64_service_account is not valid base64: check the secret storage-config")
	}
	path := filepath.Join(os.TempDir(), "service-account.json")
	return path, os.WriteFile(path, key, 0o600)
}
