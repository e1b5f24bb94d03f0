// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package servers describes how to start real object stores for tests, with their objects in a
// folder.
package servers

// Server describes an object store that serves HTTP.
type Server struct {
	// Program is the name of the program in hack/build-tools.
	Program string
	Args    []string
	// URL is the base URL. Ready is a URL that responds with status 200 once the server is ready.
	URL, Ready string
	// Env contains the environment variables that the storage initializer needs.
	Env map[string]string
}

// GCS returns a server that serves the subfolders of a folder as buckets of Google Cloud Storage.
// It reads them at its start and needs no credentials.
func GCS(folder, host, port string) Server {
	address := host + ":" + port
	return Server{
		Program: "fake-gcs-server",
		Args: []string{
			"-backend=memory", "-data=" + folder, "-scheme=http", "-host=" + host, "-port=" + port,
			"-public-host=" + address, "-log-level=warn",
		},
		URL: "http://" + address, Ready: "http://" + address + "/storage/v1/b",
		Env: map[string]string{"STORAGE_EMULATOR_HOST": "http://" + address},
	}
}

// The credentials of the S3 server.
const (
	AccessKey = "serinus"
	SecretKey = "serinus-secret"
)

// S3 returns a server that serves the subfolders of a folder as buckets of S3. It stores the
// metadata of objects in another folder.
func S3(folder, metadata, host, port string) Server {
	address := host + ":" + port
	return Server{
		Program: "versitygw",
		Args: []string{
			"--port=" + address, "--access=" + AccessKey, "--secret=" + SecretKey, "--health=/health", "--quiet",
			"posix", "--sidecar=" + metadata, folder,
		},
		URL: "http://" + address, Ready: "http://" + address + "/health",
		Env: map[string]string{
			"AWS_ENDPOINT_URL": "http://" + address, "AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey,
		},
	}
}
