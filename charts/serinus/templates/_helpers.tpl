{{/* Labels of everything that belongs to the Deployment; they select its pods too. */}}
{{- define "serinus.labels" -}}
app.kubernetes.io/name: serinus
app.kubernetes.io/component: controller-manager
{{- end }}

{{- define "serinus.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The configuration file: the documented one, unless values change it. */}}
{{- define "serinus.config" -}}
{{- if .Values.config -}}
apiVersion: config.serinus.io/v1alpha1
kind: OperatorConfiguration
{{ omit .Values.config "apiVersion" "kind" | toYaml }}
{{ else -}}
{{ .Files.Get "files/config.yaml" }}
{{- end -}}
{{- end }}

{{/* The image that downloads models. */}}
{{- define "serinus.storageInitializer" -}}
{{- $documented := .Files.Get "files/config.yaml" | fromYaml -}}
{{- dig "storageInitializer" "image" $documented.storageInitializer.image .Values.config -}}
{{- end }}

{{/* The scheme of the metrics, or nothing where there are none. */}}
{{- define "serinus.metrics" -}}
{{- $metrics := dig "metrics" dict .Values.config -}}
{{- if ne (dig "bindAddress" ":8443" $metrics) "0" -}}
{{- ternary "https" "http" (dig "secure" true $metrics) -}}
{{- end -}}
{{- end }}

{{/* Combinations of values that would not work. */}}
{{- define "serinus.check" -}}
{{- $config := .Values.config -}}
{{- if and (gt (int .Values.replicas) 1) (eq (dig "leaderElection" "enabled" true $config) false) -}}
{{- fail "config.leaderElection.enabled is false and replicas is above 1: two operators would act at once; set replicas to 1 or leave leader election on" -}}
{{- end -}}
{{- if not (has (dig "metrics" "bindAddress" ":8443" $config) (list ":8443" "0")) -}}
{{- fail "config.metrics.bindAddress: the Service expects :8443; leave the key out, or write \"0\" for no metrics" -}}
{{- end -}}
{{- if and .Values.monitoring.enabled (not (include "serinus.metrics" .)) -}}
{{- fail "config.metrics.bindAddress is \"0\" and monitoring.enabled is true: there is nothing to scrape; change one of them" -}}
{{- end -}}
{{- if dig "metrics" "certDir" "" $config -}}
{{- fail "config.metrics.certDir: the chart mounts no certificate; leave the key out" -}}
{{- end -}}
{{- with dig "leaderElection" "namespace" "" $config -}}
{{- if ne . $.Release.Namespace -}}
{{- fail (printf "config.leaderElection.namespace: the chart gives rights to the Lease in namespace %s only; leave the key out" $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- if ne (dig "health" "bindAddress" ":8081" $config) ":8081" -}}
{{- fail "config.health.bindAddress: the probes expect :8081; leave the key out" -}}
{{- end -}}
{{- end }}

{{- define "serinus.subjects" -}}
- kind: ServiceAccount
  name: serinus-controller-manager
  namespace: {{ .Release.Namespace }}
{{- end }}
