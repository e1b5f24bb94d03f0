// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/test/cluster/isolated"
)

// Options configure a cluster.
type Options struct {
	Level Level
	// Tools is the folder of the programs, usually bin/tools in the repository.
	Tools string
	// Images is the folder of the images that the level needs, usually bin/images in the
	// repository.
	Images string
	// Dir is the folder for the kubeconfig, the certificates and the logs. The default is a
	// temporary folder that Stop removes.
	Dir string
	// Nodes is the number of simulated nodes. The default is 3.
	Nodes int
	// Hosts are additional names and addresses in the DNS of a real node.
	Hosts map[string]string
	// ForwardedPorts make a cluster on a real node reachable from outside of its namespaces.
	ForwardedPorts *ForwardedPorts
	// APIServerFlags are additional flags of kube-apiserver.
	APIServerFlags []string
	// Progress is called with a line for the user whenever a part of the cluster is ready.
	Progress func(line string)
}

// Cluster is a running cluster.
type Cluster struct {
	options   Options
	dir       string
	ownsDir   bool
	keepLogs  bool
	dataDir   string
	lock      *os.File
	begin     time.Time
	processes *processes
	pki       *pki

	etcdURL string
	server  string
	config  *rest.Config
	client  client.Client

	gatewayPort int
	node        node
	stopOnce    sync.Once
	stopErr     error
}

// startTimeout bounds how long one part takes to become ready. It is generous because a first start
// competes with compilers.
const startTimeout = 3 * time.Minute

// Start starts a cluster and returns once it is ready. The context applies to the start only; the
// cluster runs until Stop is called or the program ends. If the start fails, Start stops all
// processes of the cluster and keeps the logs.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if options.Level.RunsPods() && !isolated.Inside() {
		return nil, errors.New("a cluster on a real node must be started in separate namespaces: see package isolated")
	}
	if err := options.complete(); err != nil {
		return nil, err
	}
	removeLeftovers()
	c, err := newCluster(options)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		c.keepLogs = true
		return nil, errors.Join(err, c.Stop(), fmt.Errorf("the logs are in %s", c.LogDir()))
	}
	return c, nil
}

func (o *Options) complete() error {
	if _, err := ParseLevel(string(o.Level)); err != nil {
		return err
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	for _, name := range o.Level.Tools() {
		if err := requireFile(filepath.Join(o.Tools, name), "build it with `go run ./hack/build-tools "+name+"`"); err != nil {
			return err
		}
	}
	for _, name := range o.Level.Images() {
		if err := requireFile(o.image(name), "build it with `go run ./test/images "+name+"`"); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) image(name string) string { return filepath.Join(o.Images, name+".tar") }

func requireFile(path, remedy string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in %s: %s", filepath.Base(path), filepath.Dir(path), remedy)
	}
	return err
}

func newCluster(options Options) (*Cluster, error) {
	c := &Cluster{options: options, begin: time.Now()}
	if err := c.createFolders(); err != nil {
		return nil, fmt.Errorf("creating the folders of the cluster: %w", err)
	}
	c.processes = newProcesses(c.LogDir(), c.dataDir, c.writeState)
	var err error
	if c.pki, err = newPKI(c.pkiDir()); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// createFolders locks the folder of the cluster before it writes anything there. It then writes the
// state that a later cleanup needs.
func (c *Cluster) createFolders() (err error) {
	if c.dataDir, err = os.MkdirTemp("", tempPrefix); err != nil {
		return err
	}
	c.dir, c.ownsDir = c.dataDir, c.options.Dir == ""
	if !c.ownsDir {
		if c.dir, err = filepath.Abs(c.options.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.LogDir(), 0o700); err != nil {
		return err
	}
	if c.lock, err = lock(c.dir); err != nil {
		return errors.Join(err, os.RemoveAll(c.dataDir))
	}
	return errors.Join(os.MkdirAll(c.pkiDir(), 0o700), c.writeState(nil))
}

func (c *Cluster) start(ctx context.Context) error {
	for _, step := range levels[c.options.Level] {
		group, ctx := errgroup.WithContext(ctx)
		for _, p := range step {
			group.Go(func() error { return c.startPart(ctx, p) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startPart(ctx context.Context, p part) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	if err := p.start(ctx, c); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	c.options.Progress(fmt.Sprintf("%-24s ready after %.1fs", p.name, time.Since(c.begin).Seconds()))
	return nil
}

// Stop stops the cluster and removes its data. It can be called several times.
func (c *Cluster) Stop() error {
	c.stopOnce.Do(func() { c.stopErr = c.stop() })
	return c.stopErr
}

func (c *Cluster) stop() error {
	c.processes.stop()
	if err := c.cleanUpNode(); err != nil {
		return errors.Join(fmt.Errorf("cleaning up the node: %w", err), c.lock.Close())
	}
	if c.ownsDir && !c.keepLogs {
		return errors.Join(os.RemoveAll(c.dir), c.lock.Close())
	}
	return errors.Join(removeAllButLogs(c.dir, c.dataDir), c.lock.Close())
}

// Failed returns a channel that receives an error if a process of the cluster exits unexpectedly.
func (c *Cluster) Failed() <-chan error { return c.processes.failed }

// Config returns a client configuration for the cluster's administrator without rate limits.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// LogDir returns the folder with one log for each process.
func (c *Cluster) LogDir() string { return filepath.Join(c.dir, "logs") }

// Tool returns the path of a program in the Tools folder.
func (c *Cluster) Tool(name string) string { return filepath.Join(c.options.Tools, name) }

// GatewayPort returns the gateway's port on 127.0.0.1, or 0 at a level without a gateway.
func (c *Cluster) GatewayPort() int { return c.gatewayPort }

func (c *Cluster) pkiDir() string { return filepath.Join(c.dir, "pki") }
