// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/internal/predictor"
)

// Default returns the default configuration.
func Default() *Config {
	return &Config{
		APIVersion:     APIVersion,
		Kind:           Kind,
		DeploymentMode: Standard,
		Ingress: Ingress{
			Domain:          "example.com",
			URLScheme:       "http",
			HostTemplate:    mustParseHostTemplate("{{.Name}}.{{.Namespace}}.{{.Domain}}"),
			TagHostTemplate: mustParseHostTemplate("{{.Tag}}-{{.Name}}.{{.Namespace}}.{{.Domain}}"),
			Gateway:         GatewayRef{Namespace: "kserve", Name: "kserve-ingress-gateway"},
			ClusterDomain:   "cluster.local",
		},
		Rollout: Rollout{
			DrainPeriod:          minutes(1),
			SettlePeriod:         seconds(2),
			CapacityHold:         minutes(5),
			ProgressDeadline:     minutes(10),
			RevisionHistoryLimit: minRevisionHistory,
		},
		StorageInitializer: StorageInitializer{
			Image: "ghcr.io/serinus-io/storage-initializer:v0.1.0",
			Resources: Resources{
				Requests: resources("100m", "100Mi"),
				Limits:   resources("1", "1Gi"),
			},
		},
		Predictor: Predictor{
			Resources: Resources{
				Requests: resources("1", "2Gi"),
				Limits:   resources("1", "2Gi"),
			},
		},
		Credentials: predictor.CredentialSettings{
			StorageSpecSecretName:       "storage-config",
			StorageSecretNameAnnotation: "serving.kserve.io/storageSecretName",
			GCS:                         predictor.GCSSettings{CredentialFileName: "gcloud-application-credentials.json"},
			S3: predictor.S3Settings{
				AccessKeyIDName:     "AWS_ACCESS_KEY_ID",
				SecretAccessKeyName: "AWS_SECRET_ACCESS_KEY",
			},
		},
		Controller: Controller{
			Concurrency:             8,
			KubeAPIQPS:              -1,
			ResyncPeriod:            metav1.Duration{Duration: 10 * time.Hour},
			GracefulShutdownTimeout: seconds(20),
		},
		LeaderElection: LeaderElection{
			Enabled:       true,
			LeaseDuration: seconds(15),
			RenewDeadline: seconds(10),
			RetryPeriod:   seconds(2),
		},
		Metrics: Metrics{BindAddress: ":8443", Secure: true},
		Health:  Health{BindAddress: ":8081"},
	}
}

func seconds(n int) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n) * time.Second}
}

func minutes(n int) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n) * time.Minute}
}

func resources(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}
}
