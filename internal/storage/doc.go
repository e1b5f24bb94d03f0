// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storage downloads models for the storage initializer.
//
// [Open] returns a [Source] for a URI. It reads the same credentials from the environment as
// KServe's storage initializer. [Fetch] downloads all objects of a source in parallel, large ones
// as several byte ranges. Data is written to .partial files. A state file lists the ranges that
// are complete, so that an interrupted download resumes unless the object has changed. A file is
// renamed to the object's name when it is complete and matches the checksum, if the store has one.
//
// Transient errors are retried with exponential backoff. Any other error ends the download with an
// [Error], which says what failed, why, and what to do.
package storage
