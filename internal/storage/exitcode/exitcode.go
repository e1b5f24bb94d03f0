// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package exitcode defines the exit codes of the storage initializer. It is a package of its own
// because the operator, which reads them, must not import the clients of the stores.
package exitcode

// Retryable means that another attempt may succeed, such as after the store was unreachable or
// limited the number of requests. Other failures exit with 1, as do those of KServe's storage
// initializer.
const Retryable = 75 // EX_TEMPFAIL of sysexits.h.
