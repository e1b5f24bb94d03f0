// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/seed"
)

const (
	host = "sklearn-iris.kserve-test.example.com"
	path = "/v1/models/sklearn-iris"
	// minRequests is the number of requests that measure a share within tolerance percentage
	// points.
	minRequests, tolerance = 1000, 5
	rate                   = 200
	// gatewayLag is how long Traefik may take to serve a route that it has accepted.
	gatewayLag = 500 * time.Millisecond
)

func (d *demo) sendRequests(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(d.folder, "iris-input.json"), []byte(seed.Input), 0o600); err != nil {
		return err
	}
	gateway := fmt.Sprintf("127.0.0.1:%d", d.cluster.GatewayPort())
	if err := waitForGateway(ctx, gateway); err != nil {
		return err
	}
	var err error
	d.prober, err = prober.Start(ctx, prober.Config{
		Gateway: gateway, MaxDuration: time.Hour, MaxRequests: int(time.Hour.Seconds() * rate),
		Targets: []prober.Target{{Host: host, Path: path + ":predict", Body: []byte(seed.Input), Rate: rate}},
	})
	return err
}

func waitForGateway(ctx context.Context, gateway string) error {
	ctx, cancel := context.WithTimeout(ctx, outputTimeout)
	defer cancel()
	for {
		err := prober.Answers(ctx, gateway, host, path)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(gatewayLag / 10):
		}
	}
}

func (d *demo) measureShares(ctx context.Context, want map[string]int) error {
	if d.prober == nil {
		if err := d.sendRequests(ctx); err != nil {
			return err
		}
	}
	from := d.prober.Mark("").At + gatewayLag
	if err := d.prober.Until(ctx, minRequests+int(gatewayLag.Seconds()*rate)); err != nil {
		return err
	}
	window := d.prober.Results().Window("now", from, d.prober.Now())
	summary := window.Summary()
	d.out.Line("The share of each revision in %d requests:\n", summary.Requests)
	for _, revision := range slices.Sorted(maps.Keys(want)) {
		share := summary.Share(revision)
		d.out.Line("  %s %6.1f %%  %s", revision, 100*share, strings.Repeat("█", int(40*share+0.5)))
	}
	d.out.Line("")
	if err := prober.SharesWithin(window, want, tolerance, minRequests); err != nil {
		return err
	}
	d.out.Line("%s\n", d.out.Styled(console.Good, fmt.Sprintf("✓ as documented, within %d percentage points", tolerance)))
	return nil
}

func (d *demo) checkRequests() error {
	if d.prober == nil {
		return nil
	}
	all := d.prober.Stop().All()
	if err := prober.NoErrors(all); err != nil {
		return err
	}
	d.out.Line("%s", d.out.Styled(console.Good, fmt.Sprintf("None of %d requests failed, from the first deployment to the last.", len(all.Requests))))
	return nil
}
