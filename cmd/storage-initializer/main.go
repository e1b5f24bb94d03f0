// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Storage-initializer is the init container that fetches a model:
//
//	storage-initializer <URI> <folder>
//
// It takes KServe's schemes and credentials; package storage says how it fetches.
// If it cannot, its termination message is one line that names the object, the
// cause and what to do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/serinus-io/serinus/internal/storage"
)

// version is set by the linker.
var version = "devel"

const usage = `Usage: storage-initializer [flags] <URI> <folder>

Fetches a model from gs://, s3://, https://<account>.blob.core.windows.net/,
https://, http://, hf:// or file:// into a folder.
`

// options are what the command line asks for.
type options struct {
	uri, folder string
	fetch       storage.Options
	// message is the file for the termination message.
	message string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	log.SetFlags(log.LstdFlags | log.LUTC)
	if err := run(ctx, o, os.Getenv); err != nil {
		line := oneLine(err)
		report(o.message, line)
		log.Fatal(line)
	}
}

func parse(args []string, complaints io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("storage-initializer", flag.ContinueOnError)
	flags.SetOutput(complaints)
	flags.Usage = func() {
		fmt.Fprint(complaints, usage+"\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.message, "termination-message", "/dev/termination-log", "the `file` for the reason of a failure, if it exists")
	flags.IntVar(&o.fetch.Workers, "workers", 0, "how many ranges are read at a time (default 8)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return o, errors.New("two arguments are expected")
	}
	o.uri, o.folder = flags.Arg(0), flags.Arg(1)
	return o, nil
}

func run(ctx context.Context, o options, env storage.Environment) error {
	log.Printf("storage-initializer %s: %s to %s", version, storage.Redacted(o.uri), o.folder)
	env, err := storage.WithStorageConfig(env)
	if err != nil {
		return err
	}
	source, err := storage.Open(ctx, o.uri, env)
	if err != nil {
		return err
	}
	o.fetch.Log = func(line string) { log.Print(line) }
	return errors.Join(storage.Fetch(ctx, source, o.uri, o.folder, o.fetch), source.Close())
}

// oneLine is an error without the line breaks of those who said it.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// report writes the termination message where the kubelet has made a file for
// it. Elsewhere the log has it.
func report(path, line string) {
	const longest = 4096 // The kubelet takes no more.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if _, err := file.WriteString(line[:min(len(line), longest)]); err != nil {
		log.Print("writing the termination message: ", err)
	}
}
