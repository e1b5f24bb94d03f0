// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package isolated runs a program in separate Linux namespaces for network, mounts, processes, IPC
// and host name. The program has no network connection to the outside. When it ends, even by a
// signal, the kernel kills every process in the namespaces and removes their mounts and network
// devices.
//
// The program enters the namespaces by starting itself again. A program that does everything
// inside, for example a test, needs only this:
//
//	func TestMain(m *testing.M) { isolated.Main(m.Run) }
//
// A program that must do something outside first, such as building or downloading, calls Enter at
// its start and chooses the arguments of the second run:
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
// There are three processes. The first one calls Run and waits. The second one is the init process
// of the namespaces, which forwards signals and reaps orphans. The third one is the program. The
// kernel kills the init process when the first process dies, and the namespaces end with the init
// process.
//
// The package needs root. Cgroups and files are shared with the machine, so the program must remove
// those that it creates.
package isolated
