{{- define "members" -}}
{{- /* Fields of Kubernetes' container, which ModelSpec and the like inline. */ -}}
{{- $container := list "name" "image" "command" "args" "workingDir" "ports" "envFrom" "env" "resources" "resizePolicy" "restartPolicy" "restartPolicyRules" "volumeMounts" "volumeDevices" "livenessProbe" "readinessProbe" "startupProbe" "lifecycle" "terminationMessagePath" "terminationMessagePolicy" "imagePullPolicy" "securityContext" "stdin" "stdinOnce" "tty" -}}
{{- $inlinesContainer := has .Name (list "ModelSpec" "PredictorExtensionSpec") -}}
{{- $refused := list }}
| Field | Type | Description | Rules |
| --- | --- | --- | --- |
{{ if .GVK -}}
| `apiVersion` | string | `{{ .GVK.Group }}/{{ .GVK.Version }}` | |
| `kind` | string | `{{ .GVK.Kind }}` | |
{{ end -}}
{{ range .Members -}}
{{- if hasPrefix "Not supported" .Doc -}}
{{- $refused = append $refused . -}}
{{- else if and $inlinesContainer (has .Name $container) -}}
{{- else if eq .Name "metadata" -}}
| `metadata` | {{ markdownRenderType .Type }} | Name, namespace, labels and annotations. | |
{{ else -}}
| `{{ .Name }}` | {{ markdownRenderType .Type }} | {{ markdownRenderFieldDoc .Doc | replace "<br />" " " | replace "<" "&lt;" }} | {{ template "rules" . }} |
{{ end -}}
{{- end }}
{{- if $inlinesContainer -}}
| `image`, `command`, `args`, `env`, `resources`, `ports`, `volumeMounts`, `readinessProbe`, … | | The fields of Kubernetes' [container](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container), except `name`. | |
{{ end -}}
{{- if $refused }}
Refused:
{{ range $refused }}
- `{{ .Name }}`: {{ range index .Markers "kubebuilder:validation:XValidation" }}{{ .Message }}{{ end }}
{{- end }}
{{ end -}}
{{- end -}}

{{- define "rules" -}}
{{- $rules := list -}}
{{- range .Validation -}}
{{- if hasPrefix "Required" . -}}
{{- $rules = append $rules "required" -}}
{{- else if not (hasPrefix "Optional" .) -}}
{{- $rules = append $rules (markdownRenderFieldDoc . | replace "[ " "[") -}}
{{- end -}}
{{- end -}}
{{- /* Rules of the type stand where it is described. */ -}}
{{- if not (index .Type.Markers "kubebuilder:validation:XValidation") -}}
{{- range index .Markers "kubebuilder:validation:XValidation" -}}
{{- $rules = append $rules (markdownRenderFieldDoc .Message | replace "<" "&lt;") -}}
{{- end -}}
{{- end -}}
{{- join "<br />" $rules -}}
{{- end -}}
