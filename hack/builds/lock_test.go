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

func TestLockLetsOneInAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, func() { t.Error("nobody has it") })
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while it is taken, want to wait in vain", err)
	}

	waiting := make(chan struct{})
	entered := make(chan error)
	go func() {
		_, err := lock(t.Context(), path, func() { close(waiting) })
		entered <- err
	}()
	<-waiting
	unlock()
	if err := <-entered; err != nil {
		t.Error(err)
	}
}
