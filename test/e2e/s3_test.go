// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/models"
	"github.com/serinus-io/serinus/test/storage/servers"
)

// Both modes download models in the same way.
var _ = describeInModes("a rollout", []mode{inStandard}, func(m mode) {
	It("downloads its models from S3 with the credentials of its service account", func(ctx SpecContext) {
		store := startS3(ctx)
		s := newScenario(ctx, m, scenarioNamespace(), "sklearn-iris")
		Expect(api.Create(ctx, &corev1.Secret{
			ObjectMeta: s.meta("s3"),
			StringData: map[string]string{
				"AWS_ACCESS_KEY_ID": servers.AccessKey, "AWS_SECRET_ACCESS_KEY": servers.SecretKey,
				"S3_ENDPOINT": strings.TrimPrefix(store.URL, "http://"), "S3_USE_HTTPS": "0",
			},
		})).To(Succeed())
		Expect(api.Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: s.meta("models"), Secrets: []corev1.ObjectReference{{Name: "s3"}},
		})).To(Succeed())
		s.sh("kubectl create rolebinding serinus-credentials-reader -n " + s.namespace +
			" --clusterrole=serinus-credentials-reader --serviceaccount=serinus-system:serinus-controller-manager")

		s.create(s.name, storageURI("s3://kfserving-examples/models/sklearn/1.0/model"), serviceAccount("models"))
		s.awaitSplit(s.name, split{1: 100})
		target := s.target(s.name, rate)
		target.Path = "/v1/models/sklearn-iris:predict"
		s.probe(target)
		s.apply("canary of 20 %", storageURI("s3://kfserving-examples/models/sklearn/1.0/model-2"), serviceAccount("models"), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
	}, SpecTimeout(scenarioTimeout))
})

func serviceAccount(name string) option {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ServiceAccountName = name }
}

func startS3(ctx context.Context) servers.Server {
	GinkgoHelper()
	store := servers.S3(GinkgoT().TempDir(), GinkgoT().TempDir(), local.NodeAddress, "9024")
	process, err := cluster.Run(store.Program, cluster.Tool(store.Program), store.Args...)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) { Expect(process.Stop(ctx)).To(Succeed()) })
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	Expect(process.Await(ready, store.Ready)).To(Succeed())

	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(store.URL), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(servers.AccessKey, servers.SecretKey, ""),
	})
	const bucket = "kfserving-examples"
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	Expect(err).NotTo(HaveOccurred())
	for _, name := range []string{"models/sklearn/1.0/model/model.joblib", "models/sklearn/1.0/model-2/model.joblib"} {
		file, err := os.Open(filepath.Join(models.Store(root), bucket, name))
		Expect(err).NotTo(HaveOccurred())
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(name), Body: file})
		Expect(err).NotTo(HaveOccurred())
		Expect(file.Close()).To(Succeed())
	}
	return store
}
