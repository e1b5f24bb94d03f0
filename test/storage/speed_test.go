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
	// streams is how many the storage initializer has by default; the plain copy has as many.
	streams = 8
	// rounds is how often the two are timed, in turns, so that what else the machine does meets
	// both.
	rounds = 5
	// sets is how often they may be timed in all: a machine that is busy with something else gets
	// another chance.
	sets = 3
	// atLeast is the part of the speed of a plain copy that is required.
	atLeast = 0.8
)

// Checksums, ranges and the record of what has arrived may not cost more than a fifth of the speed
// of the store itself.
func TestSpeedIsThatOfTheStore(t *testing.T) {
	objects := map[string][]byte{}
	total := 0
	for i := range 16 {
		objects[fmt.Sprintf("large/%d.bin", i)] = noise(32 << 20)
	}
	for i := range 64 {
		objects[fmt.Sprintf("large/small/%d.json", i)] = noise(16 << 10)
	}
	for _, content := range objects {
		total += len(content)
	}
	if memory := "/dev/shm"; isFolder(memory) { // There is no disk in the way that writes back when it likes.
		t.Setenv("TMPDIR", memory)
	}
	everyStore(t, objects, func(t *testing.T, s store) {
		speed := func(took time.Duration) float64 { return float64(total) / (1 << 20) / took.Seconds() }
		for range sets {
			plain, ours := s.race(t, objects)
			ratio := float64(plain) / float64(ours)
			t.Logf("%d MiB: a plain copy %.0f MiB/s, the storage initializer %.0f MiB/s, start of the program included: %.0f %%",
				total>>20, speed(plain), speed(ours), 100*ratio)
			if ratio >= atLeast {
				return
			}
		}
		t.Errorf("it has less than %.0f %% of the speed of a plain copy, %d times", 100*atLeast, sets)
	})
}

// race times a plain copy and the storage initializer in turns, and returns the median of each.
func (s store) race(t *testing.T, objects map[string][]byte) (plain, ours time.Duration) {
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

// timed takes the time of filling an empty folder.
func timed(t *testing.T, fill func(dir string) error) time.Duration {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	begin := time.Now()
	if err := fill(dir); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if err := os.RemoveAll(dir); err != nil { // Room for the next.
		t.Fatal(err)
	}
	return took
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// copyPlainly reads each object in one stream, and holds it against nothing.
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
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}
