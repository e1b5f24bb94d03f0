// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package builds

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, func() { t.Error("the lock is free") })
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while the lock is held, want a timeout", err)
	}

	waiting := make(chan struct{})
	acquired := make(chan error)
	go func() {
		_, err := lock(t.Context(), path, func() { close(waiting) })
		acquired <- err
	}()
	<-waiting
	unlock()
	if err := <-acquired; err != nil {
		t.Error(err)
	}
}
