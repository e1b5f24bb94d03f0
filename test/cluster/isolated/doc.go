// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package isolated runs a program in Linux namespaces of its own: network,
// mounts, processes, IPC and host name. Nothing in them can be reached from
// outside or reaches out, and when the program ends, however it does, the kernel
// ends every process in them and takes away their mounts and network devices.
//
// A program enters them by being started again. In one that has nothing to do
// outside, a test for example, this is all:
//
//	func TestMain(m *testing.M) { isolated.Main(m.Run) }
//
// One that has to do something before, such as building or downloading, calls
// Enter first of all and chooses the arguments of the run inside itself:
//
//	func main() {
//		isolated.Enter()
//		if isolated.Inside() {
//			os.Exit(work())
//		}
//		prepare()
//		code, err := isolated.Run(os.Args[1:])
//		…
//	}
//
// There are three processes: the one that calls Run and waits, the first process
// of the namespaces, which passes on signals and collects orphans, and the
// program. The namespaces end with the second, which the kernel kills when the
// first one dies.
//
// It needs root. Control groups and files are shared with the machine: whoever
// makes some removes them.
package isolated
