// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Tiny is a program to build in tests.
package main

import "fmt"

var version = "unknown"

func main() { fmt.Println("version", version) }
