// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storage tests the storage initializer as a program with real object stores.
package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/serinus-io/serinus/test/storage/servers"
)

const (
	root    = "../.."
	timeout = 30 * time.Second
	bucket  = "models"
)

var initializer string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "storage-initializer-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	initializer = filepath.Join(dir, "storage-initializer")
	out, err := exec.Command("go", "build", "-o", initializer, root+"/cmd/storage-initializer").CombinedOutput()
	if err != nil {
		return 1, fmt.Errorf("building the storage initializer: %w\n%s", err, out)
	}
	return m.Run(), nil
}

type store struct {
	servers.Server
	scheme string
}

func everyStore(t *testing.T, objects map[string][]byte, test func(t *testing.T, s store)) {
	t.Helper()
	t.Run("gs", func(t *testing.T) { test(t, startGCS(t, objects)) })
	t.Run("s3", func(t *testing.T) { test(t, startS3(t, objects)) })
}

func startGCS(t *testing.T, objects map[string][]byte) store {
	t.Helper()
	folder := t.TempDir()
	for name, content := range objects {
		writeFile(t, filepath.Join(folder, bucket, name), content)
	}
	s := store{Server: servers.GCS(folder, "127.0.0.1", freePort(t)), scheme: "gs"}
	s.start(t)
	return s
}

func startS3(t *testing.T, objects map[string][]byte) store {
	t.Helper()
	s := store{Server: servers.S3(t.TempDir(), t.TempDir(), "127.0.0.1", freePort(t)), scheme: "s3"}
	s.start(t)
	client := s.s3Client()
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	for name, content := range objects {
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String(name), Body: bytes.NewReader(content),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s store) s3Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL), Region: "us-east-1", UsePathStyle: true,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Credentials:                credentials.NewStaticCredentialsProvider(servers.AccessKey, servers.SecretKey, ""),
	})
}

func (s store) start(t *testing.T) {
	t.Helper()
	program := filepath.Join(root, "bin", "tools", s.Program)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%s is not built: run `go run ./hack/build-tools %s`", s.Program, s.Program)
	}
	var output bytes.Buffer
	server := exec.Command(program, s.Args...)
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		last = isReady(ctx, s.Ready)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s does not start: %v", s.Program, last)
	}
}

func isReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// command returns a command that runs the storage initializer with only the store's environment,
// and the path of its termination message.
func (s store) command(t *testing.T, name, into string, more ...string) (cmd *exec.Cmd, message string) {
	t.Helper()
	message = filepath.Join(t.TempDir(), "termination-log")
	writeFile(t, message, nil)
	args := append(append([]string{"-termination-message=" + message}, more...), s.scheme+"://"+bucket+"/"+name, into)
	cmd = exec.CommandContext(t.Context(), initializer, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}
	for key, value := range s.Env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd, message
}

func (s store) fetch(t *testing.T, name, into string, more ...string) string {
	t.Helper()
	cmd, _ := s.command(t, name, into, more...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func wantFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		found++
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if content, expected := want[name]; !expected || !bytes.Equal(got, content) {
			t.Errorf("%s has %d bytes or another content, want %d bytes", name, len(got), len(content))
		}
		return err
	})
	if err != nil || found != len(want) {
		t.Errorf("%d files, want %d (%v)", found, len(want), err)
	}
}

func randomBytes(length int) []byte {
	content := make([]byte, length)
	_, _ = rand.Read(content)
	return content
}

func TestDownload(t *testing.T) {
	files := map[string][]byte{"model.joblib": randomBytes(5000), "sub/deep/weights.bin": randomBytes(40 << 20), "empty": {}}
	objects := map[string][]byte{"sklearn/1.0/model-2/other": randomBytes(10)}
	for name, content := range files {
		objects["sklearn/1.0/model/"+name] = content
	}
	everyStore(t, objects, func(t *testing.T, s store) {
		dir := t.TempDir()
		s.fetch(t, "sklearn/1.0/model", dir)
		wantFiles(t, dir, files)

		single := t.TempDir()
		s.fetch(t, "sklearn/1.0/model/model.joblib", single)
		wantFiles(t, single, map[string][]byte{"model.joblib": files["model.joblib"]})
	})
}

func TestDownloadResumesAfterKill(t *testing.T) {
	files := map[string][]byte{"weights.bin": randomBytes(512 << 20)}
	everyStore(t, map[string][]byte{"large/weights.bin": files["weights.bin"]}, func(t *testing.T, s store) {
		dir := t.TempDir()
		first, _ := s.command(t, "large", dir, "-workers=1")
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, timeout, true, func(context.Context) (bool, error) {
			state, err := os.ReadFile(filepath.Join(dir, ".storage-initializer.json"))
			return err == nil && bytes.Contains(state, []byte("parts")), nil
		})
		if err != nil {
			t.Fatalf("nothing was downloaded: %v", err)
		}
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := first.Wait(); err == nil {
			t.Fatal("the first run ended before it was killed")
		}
		if out := s.fetch(t, "large", dir); !strings.Contains(out, "were downloaded by an earlier run") {
			t.Errorf("the second run did not resume:\n%s", out)
		}
		wantFiles(t, dir, files)
	})
}

func TestMissingObjectIsReported(t *testing.T) {
	everyStore(t, map[string][]byte{"model/a": randomBytes(10)}, func(t *testing.T, s store) {
		for name, uri := range map[string]string{"an object": bucket + "/not/there", "a bucket": "no-such-bucket/model"} {
			t.Run(name, func(t *testing.T) {
				if message := s.failedURI(t, s.scheme+"://"+uri); !strings.HasPrefix(message, s.scheme+"://"+uri+": missing: ") {
					t.Errorf("the termination message is %q", message)
				}
			})
		}
	})
}

// failedURI runs the program, which must fail, and returns its termination message.
func (s store) failedURI(t *testing.T, uri string, env ...string) string {
	t.Helper()
	cmd, messagePath := s.command(t, "x", t.TempDir())
	cmd.Args[len(cmd.Args)-2] = uri
	cmd.Env = append(cmd.Env, env...)
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("got %v, want exit code 1\n%s", err, out)
	}
	message, err := os.ReadFile(messagePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}

func TestInvalidCredentialsAreReported(t *testing.T) {
	s := startS3(t, map[string][]byte{"model/a": randomBytes(10)})
	for name, c := range map[string]struct{ env, advice string }{
		"a wrong key": {
			"AWS_SECRET_ACCESS_KEY=wrong",
			"the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY in the secret",
		},
		"none": {
			"awsAnonymousCredential=true",
			"add a secret with credentials to the ServiceAccount, and check that it has the keys that this store needs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			message := s.failedURI(t, "s3://"+bucket+"/model", c.env)
			if !strings.HasPrefix(message, "s3://"+bucket+"/model: forbidden: ") || !strings.HasSuffix(message, c.advice) {
				t.Errorf("the termination message is %q", message)
			}
		})
	}
}
