// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package servers knows how to start the object stores that tests fetch models
// from: real ones, over a folder of the machine.
package servers

// Server is a program that serves objects over HTTP.
type Server struct {
	// Program is its name in hack/build-tools.
	Program string
	Args    []string
	// URL is where it is reached, and Ready answers with 200 once it works.
	URL, Ready string
	// Env is what a client of it needs to know, as the storage initializer takes it.
	Env map[string]string
}

// GCS serves the folders in a folder as buckets of Google Cloud Storage. It
// reads them when it starts, and nobody has to log in.
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

// The account of the S3 store.
const (
	AccessKey = "serinus"
	SecretKey = "serinus-secret"
)

// S3 serves the folders in a folder as buckets of S3, and keeps what it has to
// know of its objects in another.
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
