// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package models gives a real node what the models of the walkthrough are served
// from: an object store that has them under the names of KServe's own examples,
// a storage initializer that fetches from it, and a runtime that serves them.
package models

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/operator"
	"github.com/serinus-io/serinus/test/storage/servers"
)

// Tools are the programs that it takes, beside those of the node.
var Tools = []string{"fake-gcs-server"}

// Store is the folder with the models, in one folder for each bucket.
func Store(root checkout.Root) string { return root.Path("bin", "images", "store") }

// The images that it takes. The server's is packed out of Debian's packages.
const (
	InitializerImage = "storage-initializer"
	ServerImage      = "sklearnserver"
)

// InstallCommand makes the runtime use the image that the node has.
const InstallCommand = "kubectl apply --server-side --force-conflicts -k test/cluster/config/node"

// port is where the store is, in the network of the node.
const port = 9023

// Serve loads the images and starts the store. It returns how the operator is to
// be set.
func Serve(ctx context.Context, c *local.Cluster, root checkout.Root) (operator.Settings, error) {
	for _, image := range []string{InitializerImage, ServerImage} {
		if err := c.LoadImage(ctx, root.Path("bin", "images", image+".tar")); err != nil {
			return nil, fmt.Errorf("loading the image %s: %w", image, err)
		}
	}
	server := servers.GCS(Store(root), local.NodeAddress, strconv.Itoa(port))
	process, err := c.Run(server.Program, c.Tool(server.Program), server.Args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the object store does not start; its log is %s", process.Log()))
	defer cancel()
	settings := operator.Settings{"storageInitializer": {"image": "dev.local/storage-initializer:1", "env": server.Env}}
	return settings, process.Await(ctx, server.Ready)
}
