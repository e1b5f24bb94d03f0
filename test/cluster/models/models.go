// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package models sets up a real node to serve the models of the walkthrough. It provides an object
// store with the models under the names of KServe's examples, a storage initializer that downloads
// from it, and a serving runtime.
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

// Tools are the required programs in addition to those of the node.
var Tools = []string{"fake-gcs-server"}

// Store returns the folder with the models. It has one subfolder for each bucket.
func Store(root checkout.Root) string { return root.Path("bin", "images", "store") }

// The required images. ServerImage is built from Debian packages.
const (
	InitializerImage = "storage-initializer"
	ServerImage      = "sklearnserver"
)

// InstallCommand configures the serving runtime to use the image that is loaded into the node.
const InstallCommand = "kubectl apply --server-side --force-conflicts -k test/cluster/config/node"

const port = 9023

// Serve loads the images and starts the object store. It returns the settings that the operator
// needs.
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
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the object store has not started after a minute; its log is %s", process.Log()))
	defer cancel()
	settings := operator.Settings{"storageInitializer": {"image": "dev.local/storage-initializer:1", "env": server.Env}}
	return settings, process.Await(ctx, server.Ready)
}
