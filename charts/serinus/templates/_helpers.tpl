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

{{/* Combinations of values that would not work. */}}
{{- define "serinus.check" -}}
{{- $config := .Values.config -}}
{{- if and (gt (int .Values.replicas) 1) (eq (dig "leaderElection" "enabled" true $config) false) -}}
{{- fail "config.leaderElection.enabled is false and replicas is above 1: two operators would act at once; set replicas to 1 or leave leader election on" -}}
{{- end -}}
{{- if ne (dig "metrics" "bindAddress" ":8443" $config) ":8443" -}}
{{- fail "config.metrics.bindAddress: the Service expects :8443; leave the key out" -}}
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
