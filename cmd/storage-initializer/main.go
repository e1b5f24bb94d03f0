// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Command storage-initializer is the init container that downloads a model:
//
//	storage-initializer <URI> <folder>
//
// It supports KServe's URI schemes and credentials. If the download fails, its termination message
// is one line with the object, the cause and the remedy. Its exit code says whether another attempt
// may succeed; see package exitcode.
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
	"github.com/serinus-io/serinus/internal/storage/exitcode"
)

var version = "devel"

const usage = `Usage: storage-initializer [flags] <URI> <folder>

Downloads a model from gs://, s3://, https://<account>.blob.core.windows.net/,
https://, http://, hf:// or file:// into a folder.
`

type options struct {
	uri, folder string
	fetch       storage.Options
	message     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // A second signal terminates the process.
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
		log.Print(line)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	if storage.IsRetryable(err) {
		return exitcode.Retryable
	}
	return 1
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("storage-initializer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage+"\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.message, "termination-message", "/dev/termination-log", "`file` to which the reason of a failure is written, if it exists")
	flags.IntVar(&o.fetch.Workers, "workers", 0, "number of ranges to read concurrently (default 8)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return o, errors.New("expected two arguments")
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

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// report writes the termination message. The kubelet creates the file; outside of a pod there is
// none.
func report(path, line string) {
	const maxLength = 4096 // The kubelet's limit.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if _, err := file.WriteString(line[:min(len(line), maxLength)]); err != nil {
		log.Print("writing the termination message: ", err)
	}
}
