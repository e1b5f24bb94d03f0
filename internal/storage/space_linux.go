// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import "golang.org/x/sys/unix"

func freeBytes(folder string) (int64, error) {
	var volume unix.Statfs_t
	if err := unix.Statfs(folder, &volume); err != nil {
		return 0, err
	}
	return int64(volume.Bavail) * volume.Bsize, nil //nolint:gosec // A volume of 8 EiB is far off.
}
