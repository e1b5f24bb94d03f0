// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Command tiny is built in tests.
package main

import "fmt"

var version = "unknown"

func main() { fmt.Println("version", version) }
