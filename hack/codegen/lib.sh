# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The other scripts source this file. It changes to the root of the repository, and defines a function
# that runs the generators that hack/tools/codegen pins.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly module=github.com/serinus-io/serinus
readonly boilerplate=hack/boilerplate.go.txt

tool() {
	go tool -modfile=hack/tools/codegen/go.mod "$@"
}
