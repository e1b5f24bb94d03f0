// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storage fetches models from where they are stored into a folder, for
// the storage initializer.
//
// [Open] makes a [Source] of a URI, by its scheme and by the credentials in the
// environment, which are those that KServe's initializer takes. [Fetch] brings
// all objects of a source into a folder: in parallel, large ones in several
// ranges at a time. Bytes go into files whose names end in .partial, and what has
// arrived is on record beside them, so that a fetch that was interrupted goes on
// where it was, unless an object has changed since. An object has its own name
// only once it is whole and its checksum is right, where the store gives one.
//
// What may pass is tried again, with growing pauses. What ends a fetch is an
// [Error]: it names the object, what is wrong and what to do.
package storage
