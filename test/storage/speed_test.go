// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

const (
	// streams is the default number of concurrent downloads of the storage initializer. The plain
	// copy uses the same.
	streams = 8
	// rounds is how often both are timed. They alternate so that other load on the machine affects
	// both.
	rounds = 5
	// attempts is the maximum number of measurements, because the machine can be busy.
	attempts = 3
	minRatio = 0.8
)

// Checksums, ranges and the saved progress must not cost more than a fifth of the speed.
func TestSpeed(t *testing.T) {
	objects := map[string][]byte{}
	total := 0
	for i := range 16 {
		objects[fmt.Sprintf("large/%d.bin", i)] = randomBytes(32 << 20)
	}
	for i := range 64 {
		objects[fmt.Sprintf("large/small/%d.json", i)] = randomBytes(16 << 10)
	}
	for _, content := range objects {
		total += len(content)
	}
	if memory := "/dev/shm"; isFolder(memory) { // Avoid the disk, whose write-back disturbs the measurement.
		t.Setenv("TMPDIR", memory)
	}
	everyStore(t, objects, func(t *testing.T, s store) {
		speed := func(took time.Duration) float64 { return float64(total) / (1 << 20) / took.Seconds() }
		for range attempts {
			plain, ours := s.compareSpeed(t, objects)
			ratio := float64(plain) / float64(ours)
			t.Logf("%d MiB: a plain copy %.0f MiB/s, the storage initializer including its start %.0f MiB/s: %.0f %%",
				total>>20, speed(plain), speed(ours), 100*ratio)
			if ratio >= minRatio {
				return
			}
		}
		t.Errorf("less than %.0f %% of the speed of a plain copy in %d attempts", 100*minRatio, attempts)
	})
}

func (s store) compareSpeed(t *testing.T, objects map[string][]byte) (plain, ours time.Duration) {
	t.Helper()
	var plains, all []time.Duration
	for range rounds {
		plains = append(plains, timed(t, func(dir string) error { return s.copyPlainly(t.Context(), objects, dir) }))
		all = append(all, timed(t, func(dir string) error {
			cmd, _ := s.command(t, "large", dir)
			return cmd.Run()
		}))
	}
	return median(plains), median(all)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func timed(t *testing.T, fill func(dir string) error) time.Duration {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	begin := time.Now()
	if err := fill(dir); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if err := os.RemoveAll(dir); err != nil { // Free the space for the next run.
		t.Fatal(err)
	}
	return took
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// copyPlainly downloads each object in one stream without checks.
func (s store) copyPlainly(ctx context.Context, objects map[string][]byte, dir string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(streams)
	client := s.s3Client()
	for name := range objects {
		group.Go(func() error {
			content, err := s.read(ctx, client, name)
			if err != nil {
				return err
			}
			defer content.Close()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			file, err := os.Create(path)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(file, content)
			return err
		})
	}
	return group.Wait()
}

func (s store) read(ctx context.Context, client *s3.Client, name string) (io.ReadCloser, error) {
	if s.scheme == "s3" {
		object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(name)})
		if err != nil {
			return nil, err
		}
		return object.Body, nil
	}
	address := s.URL + "/download/storage/v1/b/" + bucket + "/o/" + url.PathEscape(name) + "?alt=media"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}
